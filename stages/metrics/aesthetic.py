"""LAION's aesthetic score: a head of linear layers on what CLIP ViT-L/14 makes of a picture, scaled to length 1.

Two heads are published, both learnt from people's scores of 1 to 10: ``sa_0_4_vit_l_14_linear.pth``, one layer (LAION
aesthetic predictor V1, which VBench takes), and ``sac+logos+ava1-l14-linearMSE.pth``, five layers (V2, Schuhmann 2022).
The latter have no activation between them; its dropout does nothing once it is trained.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from stages.errors import BadInput
from stages.metrics.weights import read_weights


class AestheticHead:
    """A chain of linear layers from ``width`` numbers to one.

    Raises:
        BadInput: no such file; it is damaged, or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.name, self._layers = path.name, _layers(read_weights(path), path)
        self.width = self._layers[0][0].shape[1]

    @torch.no_grad()
    def scores(self, features: Tensor) -> Tensor:
        """Scores [...], about 1 to 10, of CLIP's features [..., D] of pictures."""
        found = features.float() / features.float().norm(dim=-1, keepdim=True).clamp(min=1e-12)
        for weight, bias in self._layers:
            found = found @ weight.T + bias
        return found[..., 0]


def _layers(tensors: dict[str, Tensor], path: Path) -> list[tuple[Tensor, Tensor]]:
    """Weights [out, in] and biases [out] in their order, which is that of the numbers in their names."""
    names = [name.removesuffix("weight") for name in tensors if name.endswith("weight")]
    names.sort(key=lambda name: [int(digits) for digits in re.findall(r"\d+", name)])
    if not names or set(tensors) != {f"{name}{kind}" for name in names for kind in ("weight", "bias")}:
        raise _not_a_head(path, "it has not a weight and a bias for each layer and nothing else")
    if not all(tensor.is_floating_point() for tensor in tensors.values()):
        raise _not_a_head(path, "its weights are no floating-point numbers")
    layers = [(tensors[f"{name}weight"].float(), tensors[f"{name}bias"].float()) for name in names]
    if any(weight.dim() != 2 or bias.shape != weight.shape[:1] for weight, bias in layers):
        raise _not_a_head(path, "its layers are not linear ones")
    ends = [weight.shape[0] for weight, _ in layers]
    begins = [weight.shape[1] for weight, _ in layers]
    if ends != [*begins[1:], 1]:
        raise _not_a_head(path, f"its layers go from {begins} to {ends} numbers, and do not end in one score")
    return layers


def _not_a_head(path: Path, why: str) -> BadInput:
    return BadInput(
        f"{path} is no aesthetic head: {why}.",
        "Give --aesthetic sa_0_4_vit_l_14_linear.pth or sac+logos+ava1-l14-linearMSE.pth, of LAION.",
    )
