"""Weights of feature networks from local files: read as tensors only, never as programs that a pickle could hold.

``.safetensors``, or torch's own ``.pth`` / ``.pt`` through its restricted reader, which refuses everything but tensors
and plain containers. TorchScript archives hold a network with its code in torch's own small language.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from stages.errors import BadInput, first_line

Network = TypeVar("Network", bound=nn.Module)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors in ``path``. Raises ``BadInput``: no such file, damaged, not finite, or not a plain collection of
    tensors."""
    _must_exist(path)
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, safetensors and torch raise their own kinds for a damaged file
        raise BadInput(f"{path} cannot be read as weights: {first_line(error)[:160]}.", "Fetch it again.") from None
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise BadInput(
            f"{path} is not a plain collection of weights.", "Give the weights only, not a whole checkpoint."
        )
    broken = [name for name, tensor in tensors.items() if not tensor.float().isfinite().all()]
    if broken:
        raise BadInput(f"{path} holds NaN or infinity in {broken[0]}.", "Fetch it again, or name another file.")
    return tensors


def fill(network: Network, tensors: dict[str, Tensor], path: Path, what: str) -> Network:
    """Put ``tensors`` into ``network`` and make it ready to measure with. Raises ``BadInput``: they are not ``what``.

    Tensors that the network has no place for (classifiers) are left away; counters of batches may be missing.
    """
    wanted = network.state_dict()
    lacking = [name for name in wanted if name not in tensors and not name.endswith("num_batches_tracked")]
    other = [name for name in wanted if name in tensors and _like(tensors[name]) != _like(wanted[name])]
    if lacking or other:
        found = f"has no {lacking[0]}" if lacking else f"has a {other[0]} of {_said(tensors[other[0]])}"
        raise BadInput(f"{path} does not hold the weights of {what}: it {found}.", "Name another file.")
    network.load_state_dict({name: tensors.get(name, value) for name, value in wanted.items()})
    return network.eval().requires_grad_(False)


def _like(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.is_floating_point()


def _said(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def load_script(path: Path, device: str, what: str) -> Any:
    """A TorchScript network. Raises ``BadInput``: ``path`` is missing or no TorchScript archive."""
    _must_exist(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch prefers its newer kind of archive, which these networks are not
            return torch.jit.load(str(path), map_location=device).eval()
    except Exception as error:
        raise BadInput(
            f"{path} is not {what} as TorchScript: {first_line(error)[:160]}.", "Name another file."
        ) from None


def _must_exist(path: Path) -> None:
    if not path.is_file():
        raise BadInput(f"There is no file {path}.", "Check the path.")
