"""What keeps a motion of bones plausible: smooth controls, and joints that do not turn farther than they can."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from stages.gaussians import Frames
from stages.skeletons.ground import moved_corners, penetration

Controls = Callable[[], tuple[Tensor, Tensor]]
"""Gives rotation vectors [F, J, 3] and shifts [F, 3]."""

LIMIT_WEIGHT = 10.0
"""[ours]"""


class Smoothness:
    """Mean absolute Laplacian of the controls in time (AKD, Eq. 10), of quaternions in place of angles: of small turns
    these are half the angles, which counts for the factor of two; large ones may be said by several angles."""

    name = "smooth"

    def __init__(self, weight: float, controls: Controls, *, cyclic: bool) -> None:
        self.weight, self.controls, self.cyclic = weight, controls, cyclic

    def __call__(self, frames: Frames, generator: torch.Generator) -> Tensor:
        """See ``Regularizer``."""
        quats, shift = self.controls()
        turns = 2.0 * laplacian(quats, cyclic=self.cyclic, quaternions=True)
        return turns + laplacian(shift, cyclic=self.cyclic)


class GroundPenalty:
    """How deep the cuboids of bones reach below the ground (AKD, Eq. 9).

    Args:
        weight: of the term.
        cuboids: [J, 8, 3] corners at rest.
        matrices: gives how bones have moved since rest, [T, J, 4, 4].
        height: of the ground.
    """

    name = "ground"

    def __init__(self, weight: float, cuboids: Tensor, matrices: Callable[[], Tensor], height: float) -> None:
        self.weight, self.cuboids, self.matrices, self.height = weight, cuboids, matrices, height

    def __call__(self, frames: Frames, generator: torch.Generator) -> Tensor:
        """See ``Regularizer``."""
        return penetration(moved_corners(self.cuboids, self.matrices()), self.height)


class Limits:
    """How far joints turn beyond their limits, mean square in radians. [ours]"""

    name = "limits"
    weight = LIMIT_WEIGHT

    def __init__(self, limits_deg: Sequence[float | None], controls: Controls) -> None:
        self.controls = controls
        self.joints = [joint for joint, limit in enumerate(limits_deg) if limit is not None]
        self.most = torch.tensor([limit for limit in limits_deg if limit is not None]).deg2rad()

    def __call__(self, frames: Frames, generator: torch.Generator) -> Tensor:
        """See ``Regularizer``."""
        angles = self.controls()[0][:, self.joints].norm(dim=-1)
        return (angles - self.most.to(angles)).clamp(min=0.0).square().mean()


def laplacian(values: Tensor, *, cyclic: bool, quaternions: bool = False) -> Tensor:
    """Mean absolute second difference in time of ``values`` [F, ...]; those that are ``quaternions`` have no sign."""
    before, here, after = values[:-2], values[1:-1], values[2:]
    if cyclic:
        before, here, after = values.roll(1, 0), values, values.roll(-1, 0)
    if quaternions:
        before, after = towards(here, before), towards(here, after)
    return (before - 2.0 * here + after).abs().mean()


def towards(quats: Tensor, others: Tensor) -> Tensor:
    """``others`` [..., 4] with the signs that bring them nearest to ``quats`` [..., 4]."""
    return torch.where((quats * others).sum(dim=-1, keepdim=True) < 0.0, -others, others)
