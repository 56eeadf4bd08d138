"""A motion carried by a few hundred points: each has a path, and everything near it goes along.

The paths are sums of smooth functions of time (``stages.geometry.trajectories``): a loop ends exactly where it begins,
and a motion that runs through once begins at rest. A Gaussian follows its nearest points, weighted by distance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn

from stages.gaussians import Frames, Gaussians
from stages.geometry.trajectories import NUM_FUNCTIONS, basis_of
from stages.motion.interface import Regularizer
from stages.motion.regularizers import AsRigidAsPossible, RegularizerConfig
from stages.settings import check

USUAL_SIZE = 0.1
"""Of the slowest function of a path, in half sides of the asset's box. [ours]"""


@dataclass(frozen=True, kw_only=True)
class PointPathsConfig:
    """How Gaussians follow points. [ours]"""

    num_points: int = 512
    neighbours: int = 6  # points that a Gaussian follows

    def __post_init__(self) -> None:
        check(self, num_points=1, neighbours=1)


class PointPaths(nn.Module):
    """Paths of points and what goes along. A ``stages.motion.interface.Motion``.

    Args:
        config: how Gaussians follow.
        points: [M, 3] at rest.
        cyclic: whether the motion is a loop; ``frame_time`` 0 and 1 are the same then, and it does not begin at rest.
    """

    kind = "points"

    def __init__(self, config: PointPathsConfig, points: Tensor, *, cyclic: bool) -> None:
        super().__init__()
        self.config, self.basis = config, basis_of(cyclic)
        self.points: Tensor
        self.register_buffer("points", points.float().clone())
        self.paths = nn.Parameter(torch.zeros(len(points), NUM_FUNCTIONS, 3))  # over their usual sizes
        self._near: tuple[Tensor, Tensor, Tensor] | None = None  # what was asked last, and which points it follows

    def at(self, asset: Gaussians, frame_times: Tensor) -> Frames:
        """See ``Motion.at``."""
        return Frames(asset, asset.means + self.displacements(asset.means, frame_times))

    def displacements(self, points: Tensor, frame_times: Tensor) -> Tensor:
        """See ``Motion.displacements``."""
        indices, weights = self._followed(points)
        paths = torch.einsum("pn,pnkd->kpd", weights, self.paths[indices])
        return torch.einsum("tk,kpd->tpd", (self.basis.at(frame_times) * self._sizes()).to(paths), paths)

    def set_paths(self, coefficients: Tensor) -> None:
        """Give the points the paths of ``coefficients`` [M, K, 3]."""
        with torch.no_grad():
            self.paths.copy_(coefficients / self._sizes().to(coefficients)[:, None])

    def _sizes(self) -> Tensor:
        """The usual sizes [K] of coefficients: quick waves are small. An optimiser's steps are alike for all."""
        order = torch.arange(NUM_FUNCTIONS, device=self.paths.device)
        return USUAL_SIZE / (1.0 + ((order + 1) // 2 if self.basis.cyclic else order))

    def _followed(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Which points [P, n] each of ``points`` [P, 3] follows, and by how much [P, n]."""
        if self._near is None or self._near[0] is not points:
            count = min(self.config.neighbours, len(self.points))
            away, found = cKDTree(self.points.cpu().double().numpy()).query(
                points.detach().cpu().double().numpy(), count
            )
            distance = torch.from_numpy(away).reshape(len(points), count)
            indices = torch.from_numpy(found).reshape(len(points), count).to(points.device)
            spread = distance[:, -1:].clamp(min=1e-9)
            weights = torch.exp(-3.0 * (distance / spread).square())
            weights = (weights / weights.sum(dim=1, keepdim=True)).to(points)
            self._near = (points, indices, weights)
        return self._near[1], self._near[2]

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """See ``Motion.parameter_groups``."""
        return [{"params": [self.paths], "lr": learning_rate}]

    def regularizers(self, asset: Gaussians, config: RegularizerConfig) -> list[Regularizer]:
        """See ``Motion.regularizers``: ARAP unless its weight is 0; paths are smooth in time as they are."""
        if not config.arap_weight:
            return []
        return [AsRigidAsPossible(config.arap_weight, asset, config.neighbours, config.arap_anchors)]

    def tensors(self) -> dict[str, Tensor]:
        """See ``Motion.tensors``: the points and their paths."""
        return {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}

    def metadata(self) -> dict[str, str]:
        """See ``Motion.metadata``."""
        cyclic = self.basis.cyclic
        return {
            "kind": self.kind,
            "units": "normalised",
            "neighbours": str(self.config.neighbours),
            "cyclic": str(cyclic).lower(),
            "starts_at_rest": str(not cyclic).lower(),
        }

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> PointPaths:
        """The motion of ``tensors`` and ``metadata``."""
        config = PointPathsConfig(num_points=len(tensors["points"]), neighbours=int(metadata["neighbours"]))
        motion = PointPaths(config, tensors["points"], cyclic=metadata["cyclic"] == "true")
        motion.load_state_dict(dict(tensors))
        return motion
