"""Metrics on the Gaussians themselves: how much they move, how smoothly, and how well the body holds. [ours]"""

from __future__ import annotations

import torch
from torch import Tensor


def motion_amplitude(means: Tensor, canonical: Tensor) -> float:
    """Mean over Gaussians of the largest distance from rest, in per cent of the box's diagonal.

    ``means`` [T, N, 3], ``canonical`` [N, 3], world units.
    """
    farthest = (means - canonical).norm(dim=-1).amax(dim=0)
    return 100.0 * float(farthest.mean()) / _diagonal(canonical)


def jerk(means: Tensor, canonical: Tensor) -> float:
    """Mean length of the third difference over frames times T^3, in box diagonals per clip^3: 0 for smooth paths."""
    if means.shape[0] < 4:
        return 0.0
    third = means[3:] - 3 * means[2:-1] + 3 * means[1:-2] - means[:-3]
    return float(third.norm(dim=-1).mean()) * (means.shape[0] - 1) ** 3 / _diagonal(canonical)


def neighbour_distance_change(means: Tensor, canonical: Tensor, neighbours: Tensor) -> float:
    """Mean relative change of the distance to the neighbours [N, k], over frames, in per cent: 0 for a rigid motion."""
    rest = (canonical[neighbours] - canonical[:, None]).norm(dim=-1).clamp(min=1e-9)
    moved = (means[:, neighbours] - means[:, :, None]).norm(dim=-1)
    return 100.0 * float(((moved - rest).abs() / rest).mean())


def _diagonal(canonical: Tensor) -> float:
    return float((canonical.amax(dim=0) - canonical.amin(dim=0)).norm().clamp(min=torch.finfo(torch.float32).tiny))
