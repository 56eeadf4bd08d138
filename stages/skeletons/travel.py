"""The speed at which a walk on the spot travels: clips come in place, a body on the ground does not."""

from __future__ import annotations

import torch
from torch import Tensor

CONTACT = 0.01
"""Share of the body's height above the ground up to which a point touches it."""


def travel_velocity(points: Tensor, seconds: float, height: float) -> Tensor:
    """The constant horizontal velocity [3] that makes the feet of a motion slide least: add it times the time.

    Args:
        points: [T, P, 3] of the surface; y is up. In each frame the ground is where its lowest point is: clips float
            now and then.
        seconds: from the first frame to the last.
        height: of the body, in the unit of ``points``.

    Returns:
        Units a second; zero where no point touches the ground in two frames running.
    """
    moving = contact_velocities(points, seconds, height, points[..., 1].amin(dim=1))
    if not len(moving):
        return torch.zeros(3).to(points)
    x, z = (-geometric_median(moving)).tolist()
    return torch.tensor([x, 0.0, z]).to(points)


def contact_velocities(points: Tensor, seconds: float, height: float, ground: Tensor) -> Tensor:
    """Horizontal velocities [C, 2] (x, z) of those ``points`` [T, P, 3] that touch the ground in two frames running.
    Its y is ``ground``, [] or that of each frame [T]."""
    low = points[..., 1] <= ground[..., None] + CONTACT * height
    both = low[1:] & low[:-1]
    return ((points[1:] - points[:-1])[both] * ((len(points) - 1) / seconds))[:, [0, 2]].double()


def geometric_median(points: Tensor, steps: int = 100) -> Tensor:
    """The point [D] whose distances from ``points`` [N, D] have the least sum (Weiszfeld 1937)."""
    found = points.median(dim=0).values
    for _ in range(steps):
        share = 1.0 / (points - found).norm(dim=1).clamp(min=1e-9)
        found = (share[:, None] * points).sum(dim=0) / share.sum()
    return found
