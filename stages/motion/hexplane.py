"""The motion field: a HexPlane over (x, y, z, frame_time) with a small decoder (4DGS, Wu et al. 2024, section 4.2).

Six planes a scale: three of space, three of space and time. Their features are multiplied across planes, concatenated
across scales, and decoded to a translation. Continuous in ``frame_time``: any number of frames can be
asked of it.

A Gaussian's canonical position does not depend on the frame, so the planes of space are read once for all frames. The
planes with time are first interpolated in time, which leaves one line a frame, and then along space by a matrix of hat
functions; both are matrix products, fast and deterministic forwards and backwards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stages.errors import BadInput
from stages.gaussians import Frames, Gaussians
from stages.motion.interface import Regularizer
from stages.motion.regularizers import AsRigidAsPossible, RegularizerConfig, TotalVariation
from stages.settings import check

SPACE_INIT = (0.5, 1.5)
TIME_INIT = 1.0
"""Initial features: uniform in space; 1 plus noise of this deviation in time, the same everywhere in space. [ours]

4DGS starts the planes of time at one. Its first steps then move all frames alike, and on the exact prior score
distillation ended in one frozen pose (distance ratio 0.76 after 250 steps); features that differ in time from the start
let the decoder's first gradient tell frames apart (0.67).
"""


DECODER_RATE = 0.1
"""The decoder's learning rate over that of the planes (4DGS, DreamGaussian4D)."""


@dataclass(frozen=True, kw_only=True)
class HexPlaneConfig:
    """Size of a motion field, within the ranges of 4DGS, Animate3D and DreamGaussian4D but for the resolution, which is
    smaller [ours]: fitted to the pixels of a true walk, 12 ends at a distance ratio of 0.44, 32 at 0.48."""

    spatial_resolution: int = 12
    time_resolution: int = 12
    multires: tuple[int, ...] = (1, 2)  # of space only
    features: int = 16
    hidden: int = 64
    still_start: float = 0.1  # frame_time over which motion fades in: frame 0 is the asset itself; 0 is off [ours]

    def __post_init__(self) -> None:
        check(self, spatial_resolution=2, time_resolution=2, features=1, hidden=1, still_start=0)
        if not self.multires or min(self.multires) < 1:
            raise BadInput(f"multires must be whole numbers of at least 1, not {self.multires}.")


class HexPlane(nn.Module):
    """Displacements of every Gaussian at every frame time; exactly none at initialisation (the decoder's last layer is
    zero). A ``stages.motion.interface.Motion``.

    Args:
        config: sizes.
        low, high: [3] box of the canonical asset, mapped to [-1, 1]; translations come in halves of its longest side.
    """

    kind = "hexplane"

    def __init__(self, config: HexPlaneConfig, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.config = config
        self.low: Tensor
        self.high: Tensor
        self.register_buffer("low", low.float().clone())
        self.register_buffer("high", high.float().clone())
        self.space = nn.ParameterList()
        self.time = nn.ParameterList()
        for scale in config.multires:
            side = config.spatial_resolution * scale
            for _ in range(3):
                self.space.append(nn.Parameter(torch.empty(1, config.features, side, side).uniform_(*SPACE_INIT)))
                noise = TIME_INIT * torch.randn(config.time_resolution, 1, config.features)
                self.time.append(nn.Parameter((1.0 + noise).expand(-1, side, -1).clone()))
        self.decoder = nn.Sequential(
            nn.Linear(config.features * len(config.multires), config.hidden),
            nn.SiLU(),
            nn.Linear(config.hidden, 3),
        )
        last = self.decoder[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def at(self, asset: Gaussians, frame_times: Tensor) -> Frames:
        """See ``Motion.at``."""
        return Frames(asset, asset.means + self.displacements(asset.means, frame_times))

    def displacements(self, points: Tensor, frame_times: Tensor) -> Tensor:
        """See ``Motion.displacements``."""
        unit = (2.0 * (points - self.low) / (self.high - self.low).clamp(min=1e-8) - 1.0).clamp(-1.0, 1.0)
        decoded = self.decoder(self._features(unit, frame_times))
        if self.config.still_start > 0.0:
            decoded = decoded * (frame_times / self.config.still_start).clamp(max=1.0)[:, None, None]
        half_side = 0.5 * (self.high - self.low).max()
        return half_side * decoded

    def _features(self, unit: Tensor, frame_times: Tensor) -> Tensor:
        """Features [T, N, F len(multires)] at ``unit`` [N, 3] in [-1, 1]."""
        in_time = _hat(2.0 * frame_times - 1.0, self.config.time_resolution)  # [T, R_t]
        scales = []
        for index, scale in enumerate(self.config.multires):
            spatial: Tensor | None = None
            for plane, axes in zip(self.space[3 * index :], ((0, 1), (0, 2), (1, 2)), strict=False):
                grid = unit[None, None, :, list(axes)]
                sampled = nn.functional.grid_sample(plane, grid, align_corners=True)[0, :, 0].T  # [N, F]
                spatial = sampled if spatial is None else spatial * sampled
            assert spatial is not None
            features = spatial[None]
            for axis in range(3):
                plane = self.time[3 * index + axis]
                lines = torch.einsum("tr,rsf->tsf", in_time, plane)  # [T, S, F]
                features = features * torch.matmul(_hat(unit[:, axis], self.config.spatial_resolution * scale), lines)
            scales.append(features)
        return torch.cat(scales, dim=-1)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """See ``Motion.parameter_groups``: the planes learn at ``learning_rate``, the decoder at ``DECODER_RATE`` of
        it."""
        return [
            {"params": [*self.space, *self.time], "lr": learning_rate},
            {"params": list(self.decoder.parameters()), "lr": DECODER_RATE * learning_rate},
        ]

    def regularizers(self, asset: Gaussians, config: RegularizerConfig) -> list[Regularizer]:
        """See ``Motion.regularizers``: TV-3D, and ARAP unless its weight is 0."""
        terms: list[Regularizer] = [TotalVariation(config.tv_weight)]
        if config.arap_weight:
            terms.append(AsRigidAsPossible(config.arap_weight, asset, config.neighbours, config.arap_anchors))
        return terms

    def tensors(self) -> dict[str, Tensor]:
        """See ``Motion.tensors``: the parameters and the box."""
        return {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}

    def metadata(self) -> dict[str, str]:
        """See ``Motion.metadata``: the sizes."""
        return {"kind": self.kind, "units": "normalised", "field": json.dumps(asdict(self.config))}

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> HexPlane:
        """The field of ``tensors`` and ``metadata``."""
        settings = json.loads(metadata["field"])
        config = HexPlaneConfig(**{**settings, "multires": tuple(settings["multires"])})
        field = HexPlane(config, tensors["low"], tensors["high"])
        field.load_state_dict(dict(tensors))
        return field


def _hat(positions: Tensor, resolution: int) -> Tensor:
    """Linear interpolation weights [M, resolution] of ``positions`` [M] in [-1, 1] on evenly spaced nodes."""
    nodes = torch.arange(resolution, device=positions.device, dtype=positions.dtype)
    return (1.0 - (0.5 * (positions[:, None] + 1.0) * (resolution - 1) - nodes).abs()).clamp(min=0.0)
