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

SAME_WAY, CANDIDATES = 0.1, 24
"""See ``Near.of_one_side``. [ours]"""


@dataclass(frozen=True)
class Near:
    """The neighbours of points, and how much each counts."""

    indices: Tensor  # [P, k]
    weights: Tensor  # [P, k], of each row the sum is 1

    @staticmethod
    def of(points: Tensor, among: Tensor, count: int, *, sharpness: float) -> Near:
        """The ``count`` nearest of ``among`` [M, D] to each of ``points`` [P, D], by a Gaussian of their distance over
        that of the farthest."""
        distance, indices = _nearest(points, among, count)
        return Near(indices, _weights((distance / distance[:, -1:].clamp(min=1e-9)).square(), sharpness).to(points))

    @staticmethod
    def of_one_side(points: Tensor, among: Tensor, ways: Tensor, count: int, *, sharpness: float) -> Near:
        """As ``of``, but of those that go about the way of the very nearest: what lies between a hand and the hip
        beside it belongs to one of them.

        Args:
            points: [P, 3].
            among: [M, 3].
            ways: [M, W] of ``among``: the square of a difference is the mean square, over time, of how far apart two
                points are taken. It counts ``SAME_WAY`` times as much as the square of the distance at rest.
            count: of neighbours, from ``CANDIDATES`` that are near at rest.
            sharpness: as in ``of``.
        """
        distance, found = _nearest(points, among, max(count, CANDIDATES))
        apart = torch.cdist(ways, ways, compute_mode="donot_use_mm_for_euclid_dist").square().to(distance)  # [M, M]
        squares = distance.square() + SAME_WAY * apart[found[:, :1], found]
        away, places = squares.topk(min(count, len(among)), largest=False)
        return Near(found.gather(1, places), _weights(away / away[:, -1:].clamp(min=1e-18), sharpness).to(points))


def _nearest(points: Tensor, among: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Distances [P, k] and indices [P, k] of the ``count`` nearest of ``among`` [M, D] to each of ``points`` [P, D]."""
    count = min(count, len(among))
    tree = cKDTree(among.detach().cpu().double().numpy())
    away, found = tree.query(points.detach().cpu().double().numpy(), count, workers=torch.get_num_threads())
    shape = len(points), count
    distances, indices = (torch.from_numpy(array).reshape(shape).to(points.device) for array in (away, found))
    return distances, indices


def _weights(squares: Tensor, sharpness: float) -> Tensor:
    """Weights [P, k] of neighbours by the squares of their distances over that of the farthest."""
    weights = torch.exp(-sharpness * squares)
    return weights / weights.sum(dim=1, keepdim=True)


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
    for _ in range(rounds):
        ways = displacements.transpose(0, 1).flatten(1) / len(displacements) ** 0.5
        along = torch.cat([points, ways], dim=1)
        near = Near.of(along, along, neighbours, sharpness=1.0)
        middle, goes, turns = neighbourhood_turns(near, points, points + displacements)
        displacements = goes + torch.einsum("tpab,pb->tpa", turns, points - middle) - points
    return displacements
