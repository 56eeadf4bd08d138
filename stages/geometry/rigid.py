"""Points that belong together turn together: rotations of neighbourhoods, and paths smoothed by them.

Paths that a model predicts point by point are a little restless: neighbours on one bone go slightly different ways.
Moving least squares with rotations (Schaefer et al. 2006; Müller et al. 2005) gives each point the place at which the
best rigid motion of its neighbourhood takes it, so that what is rigid stays so, and what bends bends smoothly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from stages.geometry.rotations import best_rotations

RIDGE = 0.02
"""Towards no rotation, as a share of the spread of a neighbourhood: neighbours on a line leave one open. [ours]"""


@dataclass(frozen=True)
class Near:
    """The neighbours of points, and how much each counts."""

    indices: Tensor  # [P, k]
    weights: Tensor  # [P, k], of each row the sum is 1

    @staticmethod
    def of(points: Tensor, among: Tensor, count: int, *, sharpness: float) -> Near:
        """The ``count`` nearest of ``among`` [M, D] to each of ``points`` [P, D], by a Gaussian of their distance over
        that of the farthest."""
        count = min(count, len(among))
        away, found = cKDTree(among.detach().cpu().double().numpy()).query(
            points.detach().cpu().double().numpy(), count
        )
        distance = torch.from_numpy(away).reshape(len(points), count)
        weights = torch.exp(-sharpness * (distance / distance[:, -1:].clamp(min=1e-9)).square())
        indices = torch.from_numpy(found).reshape(len(points), count).to(points.device)
        return Near(indices, (weights / weights.sum(dim=1, keepdim=True)).to(points))


def neighbourhood_turns(near: Near, rest: Tensor, moved: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How neighbourhoods move as a whole: their middles at rest [P, 3] and moved [T, P, 3], and rotations [T, P, 3, 3].

    ``rest`` [M, 3] and ``moved`` [T, M, 3] are the points that ``near`` is among.
    """
    before, after = rest[near.indices], moved[:, near.indices]
    middle = torch.einsum("pn,pnd->pd", near.weights, before)
    goes = torch.einsum("pn,tpnd->tpd", near.weights, after)
    away = before - middle[:, None]
    spread = torch.einsum("pn,tpna,pnb->tpab", near.weights, after - goes[:, :, None], away)
    ridge = RIDGE * torch.einsum("pn,pnd->p", near.weights, away.square()) / 3.0
    return middle, goes, best_rotations(spread + ridge[:, None, None] * torch.eye(3).to(rest)).to(rest)


@torch.no_grad()
def kept_rigid(points: Tensor, displacements: Tensor, *, neighbours: int = 20, rounds: int = 3) -> Tensor:
    """``displacements`` [T, N, 3] of ``points`` [N, 3] by moving least squares, so that neighbours move together.

    Neighbours are near each other at rest and go the same way: the squares of both distances count, that of the ways as
    a mean over time. A hand that hangs at the hip has no neighbours there once it rises.

    The defaults are [ours]: on samples of training bodies two rounds bring the change of neighbours' distances from 3.0
    to 1.0 times that of the true clips, and the cosine from .866 to .877; a third, of quadrupeds that walk, run and
    jump, from 1.7 to 1.4 at a cosine lower by .005 (``docs/points.md``).
    """
    ways = displacements.transpose(0, 1).flatten(1) / len(displacements) ** 0.5
    along = torch.cat([points, ways], dim=1)
    near = Near.of(along, along, neighbours, sharpness=1.0)
    for _ in range(rounds):
        middle, goes, turns = neighbourhood_turns(near, points, points + displacements)
        displacements = goes + torch.einsum("tpab,pb->tpa", turns, points - middle) - points
    return displacements
