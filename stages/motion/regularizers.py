"""What keeps a motion plausible: smooth in time (TV-3D) and locally rigid (ARAP)."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.geometry.rotations import best_rotations


def tv3d(means: Tensor) -> Tensor:
    """Total variation in time (Animus3D, Eq. 13): mean over Gaussians and frames of the L1 step between frames.

    ``means`` [T, N, 3] in world units. The slope is constant at zero: too large a weight and motion never starts.
    """
    if means.shape[0] < 2:
        return means.sum() * 0.0
    return (means[1:] - means[:-1]).abs().sum(dim=-1).mean()


def arap(
    means: Tensor,  # [T, N, 3] moved
    canonical: Tensor,  # [N, 3] at rest
    neighbours: Tensor,  # [N, k] indices
    distances: Tensor,  # [N, k] at rest
    anchors: Tensor | None = None,  # [M] Gaussians to look at; all when None
) -> Tensor:
    """As-rigid-as-possible energy (Animus3D, Eq. 14): sum over neighbours, mean over Gaussians and frames.

    ``w_ij |(x_i - x_j) - R_i (p_i - p_j)|^2`` with ``w_ij = exp(-d_ij / mean d)`` and, for every Gaussian and frame,
    the rotation R_i that fits best, through which no gradient goes.
    """
    if anchors is None:
        anchors = torch.arange(canonical.shape[0], device=canonical.device)
    near = neighbours[anchors]  # [M, k]
    weights = torch.exp(-distances[anchors] / distances.mean().clamp(min=1e-12))  # [M, k]
    rest = canonical[near] - canonical[anchors, None]  # [M, k, 3]
    moved = means[:, near] - means[:, anchors, None]  # [T, M, k, 3]
    with torch.no_grad():
        rotations = best_rotations(torch.einsum("mk,tmki,mkj->tmij", weights, moved, rest))
    turned = torch.einsum("tmij,mkj->tmki", rotations, rest)
    return (weights * (moved - turned).square().sum(dim=-1)).sum(dim=-1).mean()
