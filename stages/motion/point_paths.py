"""A motion carried by a few hundred points: each has a path, and everything near it goes along.

The paths are sums of smooth functions of time (``stages.geometry.trajectories``): a loop ends exactly where it begins,
and a motion that runs through once begins at rest. A Gaussian follows its nearest points, weighted by distance, as an
embedded deformation (Sumner et al. 2007): it goes where each of them takes it, turned as that point's neighbourhood
turns. Where it is told how points go (``PointPaths.set_paths``), it follows those that go the way of the nearest: a
Gaussian of a hand that hangs at the hip goes with the hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stages.gaussians import Frames, Gaussians
from stages.geometry.rigid import Near, neighbourhood_turns
from stages.geometry.trajectories import NUM_FUNCTIONS, basis_of
from stages.motion.interface import Regularizer
from stages.motion.regularizers import AsRigidAsPossible, RegularizerConfig
from stages.settings import check

USUAL_SIZE = 0.1
"""Of the slowest function of a path, in half sides of the asset's box. [ours]"""

NO_TURN = 1e-6
"""What rotations of float32 differ by from none where nothing moves."""


@dataclass(frozen=True, kw_only=True)
class PointPathsConfig:
    """How Gaussians follow points. [ours]"""

    num_points: int = 512
    neighbours: int = 6  # points that a Gaussian follows
    turn_neighbours: int = 8  # by whose paths a point turns

    def __post_init__(self) -> None:
        check(self, num_points=1, neighbours=1, turn_neighbours=1)


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
        self.ways: Tensor  # the coefficients that were set last, by which points are told apart
        self.register_buffer("ways", torch.zeros(len(points), 3 * NUM_FUNCTIONS))
        self.paths = nn.Parameter(torch.zeros(len(points), NUM_FUNCTIONS, 3))  # over their usual sizes
        self._near: tuple[Tensor, Near] | None = None  # what was asked last, and which points it follows
        self._turning: Near | None = None

    def at(self, asset: Gaussians, frame_times: Tensor) -> Frames:
        """See ``Motion.at``."""
        return Frames(asset, asset.means + self.displacements(asset.means, frame_times))

    def displacements(self, points: Tensor, frame_times: Tensor) -> Tensor:
        """See ``Motion.displacements``. No gradient goes through the rotations."""
        near = self._followed(points)
        values = self.basis.at(frame_times) * self._sizes()
        away = torch.einsum("tk,mkd->tmd", values.to(self.paths), self.paths)  # [T, M, 3]
        with torch.no_grad():
            if self._turning is None:
                self._turning = self._nearest(self.points, self.config.turn_neighbours + 1)
            turns = neighbourhood_turns(self._turning, self.points, self.points + away)[2]
            turns = turns - torch.eye(3).to(turns)
            turns = torch.where(turns.abs() < NO_TURN, 0.0, turns)
            leans = away.detach() - torch.einsum("tmab,mb->tma", turns, self.points)
        offsets = away + (leans - away.detach())  # what a point adds where it is not turned
        told = torch.cat([offsets[..., None], turns], dim=-1)  # [T, M, 3, 4]
        frames = len(told)
        summed = nn.functional.embedding_bag(
            near.indices, told.permute(1, 0, 2, 3).flatten(1), per_sample_weights=near.weights, mode="sum"
        ).unflatten(1, (frames, 3, 4))  # [P, T, 3, 4]
        return (summed[..., 0] + torch.einsum("ptab,pb->pta", summed[..., 1:], points)).transpose(0, 1)

    def set_paths(self, coefficients: Tensor) -> None:
        """Give the points the paths of ``coefficients`` [M, K, 3]; by them it is told from now on what goes along with
        what."""
        with torch.no_grad():
            self.paths.copy_(coefficients / self._sizes().to(coefficients)[:, None])
            self.ways.copy_(coefficients.flatten(1))
        self._near = self._turning = None

    def _sizes(self) -> Tensor:
        """The usual sizes [K] of coefficients: quick waves are small. An optimiser's steps are alike for all."""
        order = torch.arange(NUM_FUNCTIONS, device=self.paths.device)
        return USUAL_SIZE / (1.0 + ((order + 1) // 2 if self.basis.cyclic else order))

    def _followed(self, points: Tensor) -> Near:
        """Which points each of ``points`` [P, 3] follows."""
        if self._near is None or self._near[0] is not points:
            self._near = points, self._nearest(points, self.config.neighbours)
        return self._near[1]

    def _nearest(self, points: Tensor, count: int) -> Near:
        """The nearest points to each of ``points`` [P, 3] that go one way."""
        return Near.of_one_side(points, self.points, self.ways, count, sharpness=3.0)

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
            "turn_neighbours": str(self.config.turn_neighbours),
            "cyclic": str(cyclic).lower(),
            "starts_at_rest": str(not cyclic).lower(),
        }

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> PointPaths:
        """The motion of ``tensors`` and ``metadata``. Files without ways are of before they were told apart."""
        config = PointPathsConfig(
            num_points=len(tensors["points"]),
            neighbours=int(metadata["neighbours"]),
            turn_neighbours=int(metadata["turn_neighbours"]),
        )
        motion = PointPaths(config, tensors["points"], cyclic=metadata["cyclic"] == "true")
        motion.load_state_dict({"ways": motion.ways} | dict(tensors))
        return motion
