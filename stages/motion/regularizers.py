"""What keeps a motion plausible: smooth in time (TV-3D) and locally rigid (ARAP)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stages.gaussians import Frames, Gaussians
from stages.gaussians.neighbours import nearest_neighbours
from stages.geometry.rotations import best_rotations
from stages.settings import check


@dataclass(frozen=True, kw_only=True)
class RegularizerConfig:
    """Weights of the terms of Animus3D's Eq. 13 and 14, and of AKD's for a motion of bones. The papers do not state
    them: [ours]."""

    tv_weight: float = 0.001
    arap_weight: float = 20.0
    arap_anchors: int = 1000  # Gaussians at which ARAP is measured in each step
    neighbours: int = 24  # of ARAP; with 8 the limbs of a jumping body fold away [ours]
    smooth_weight: float = 0.1  # of the controls of a skeleton, in time
    ground_weight: float = 10.0  # of how deep the bones of a skeleton reach into the ground, where there is one

    def __post_init__(self) -> None:
        check(self, tv_weight=0, arap_weight=0, arap_anchors=1, neighbours=1, smooth_weight=0, ground_weight=0)

    def over(self, ground: bool) -> RegularizerConfig:
        """These weights; without a ``ground``, none for it."""
        return self if ground else replace(self, ground_weight=0.0)


STIFF = RegularizerConfig(arap_weight=30.0)
"""What the exact prior likes, and so the start for published models. [ours]"""


@dataclass(frozen=True)
class TotalVariation:
    """``tv3d`` as a term."""

    weight: float
    name: str = "tv"

    def __call__(self, frames: Frames, generator: torch.Generator) -> Tensor:
        """See ``Regularizer``."""
        return tv3d(frames.means)


class AsRigidAsPossible:
    """``arap`` as a term, at a random part of the Gaussians in each step.

    Args:
        weight: of the term.
        asset: at rest.
        num_neighbours: of each Gaussian.
        num_anchors: Gaussians that are measured in a step, at most.
    """

    name = "arap"

    def __init__(self, weight: float, asset: Gaussians, num_neighbours: int, num_anchors: int) -> None:
        self.weight, self.num_anchors = weight, num_anchors
        self.neighbours, self.distances = nearest_neighbours(asset.means, num_neighbours)

    def __call__(self, frames: Frames, generator: torch.Generator) -> Tensor:
        """See ``Regularizer``."""
        count, anchors = frames.asset.num_gaussians, None
        if count > self.num_anchors:
            anchors = torch.randperm(count, generator=generator)[: self.num_anchors].to(frames.means.device)
        return arap(frames.means, frames.asset.means, self.neighbours, self.distances, anchors)


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
