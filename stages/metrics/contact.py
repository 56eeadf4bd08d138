"""How a body meets the ground, and whether it moves like one: measures of points of a surface in T frames. [ours]

All take ``points`` [T, P, 3] in the world, y up; ``height`` is the body's, ``ground`` the y of the ground. The last
frame comes ``seconds`` after the first.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stages.skeletons.travel import CONTACT, contact_velocities, geometric_median


def foot_slide(
    points: Tensor, seconds: float, height: float, *, ground: float | None = None, in_place: bool = False
) -> float | None:
    """How fast the feet slide over the ground, in body heights a second; None where nothing touches it.

    The mean horizontal speed of points that are within 1 % of the height of the ground in two frames running.

    Args:
        ground: None: where the lowest point of all frames is.
        in_place: the ground moves as one that is walked on, with the constant velocity that makes the slide least.
    """
    level = points[..., 1].min() if ground is None else torch.tensor(ground).to(points)
    moving = contact_velocities(points, seconds, height, level) / height
    if not len(moving):
        return None
    return float((moving - geometric_median(moving) if in_place else moving).norm(dim=1).mean())


def penetration(points: Tensor, ground: float, height: float) -> tuple[float, float]:
    """How deep the lowest point is below the ground: mean and most over the frames, as shares of the height."""
    depth = (ground - points[..., 1].amin(dim=1)).clamp(min=0.0) / height
    return float(depth.mean()), float(depth.max())


def floating(points: Tensor, ground: float, height: float) -> float:
    """Mean height of the lowest point above the ground where it is above, as a share of the body's height."""
    return float((points[..., 1].amin(dim=1) - ground).clamp(min=0.0).mean()) / height


def contact_share(points: Tensor, ground: float, height: float) -> float:
    """Share of the frames in which a point is within 1 % of the height of the ground, or below."""
    return float((points[..., 1].amin(dim=1) <= ground + CONTACT * height).double().mean())


def jerk(points: Tensor, seconds: float, height: float) -> float:
    """Mean size of the third derivative of the positions, in body heights a second cubed: 0 below four frames."""
    if len(points) < 4:
        return 0.0
    third = points[3:] - 3 * points[2:-1] + 3 * points[1:-2] - points[:-3]
    return float(third.norm(dim=-1).mean()) * ((len(points) - 1) / seconds) ** 3 / height


def bone_length_error(joints: Tensor, rest: Tensor, parents: Sequence[int]) -> float:
    """Mean change of the distance from joint to parent, as a share of that at rest.

    Args:
        joints: [T, J, 3] where the joints are. rest: [J, 3] where they rest. parents: -1 of the root.
    """
    pairs = [(joint, parent) for joint, parent in enumerate(parents) if parent >= 0]
    if not pairs:
        return 0.0
    own, above = torch.tensor(pairs).T
    before = (rest[own] - rest[above]).norm(dim=-1)
    changes = ((joints[:, own] - joints[:, above]).norm(dim=-1) - before).abs()
    counted = before > 1e-6
    return float((changes[:, counted] / before[counted]).mean()) if counted.any() else 0.0
