"""How a Gaussian turns and stretches: as its neighbourhood does. A motion says where points go, and nothing else.

Of a Gaussian at rest at ``p_i`` with neighbours ``p_j``, moved to ``x_i`` and ``x_j``, with ``P = p_j - p_i`` and
``X = x_j - x_i``, the local deformation ``A = R S`` is a turn ``R`` after a stretch ``S``:

1. ``R`` is the rotation nearest to ``B = sum_j w_j X P^T`` (Kabsch 1976, its determinant fixed), which is also the best
   one where all neighbours lie in a plane.
2. ``S`` is the symmetric matrix that then fits best, ``sum_j v_j |R^T X - S P|^2``, held near the identity with the
   weight ``RIDGE``. In the axes of ``C = sum_j v_j P P^T``, with variances ``c``, it is ``(G + G^T)_ab / (c_a + c_b)``
   of ``G = R^T sum_j v_j X P^T`` (the symmetric Procrustes problem, Higham 1988). Across a surface neighbours say
   little of the stretch and, where it bends, nothing true of the shear: what they say along an axis is believed in
   full from ``FLAT`` of the largest variance on, of a shear by the shares of both axes. Principal stretches are clamped
   to ``STRETCH``.
3. The moved covariance is ``A C A^T``. Its axes are found by Jacobi rotations that begin at those of the Gaussian at
   rest; of the 24 ways to name and point them, each frame takes the one nearest to the frame before, as seen from
   the body (the first frame: to rest). So no axis changes its name or its sign from frame to frame. For this the
   scales at rest are told apart by a hair, ``APART``: the two wide axes of a disc would follow the rounding of
   positions otherwise. What the axes then leave of correlation, at most twice that, is dropped.

A neighbourhood that has no extent along two directions, at rest or moved (a Gaussian alone, points that coincide or lie
on a line), or for which several rotations are equally good, keeps ``R = S = 1``. Where no neighbour has moved,
quaternions and scales are those at rest, bit by bit.

Weights fall with distance, and with how much a neighbour's distance has changed: points of another limb that only
touches here at rest, or that lie beyond a joint, have little say in how this one turns. They fall fast in ``w``, for
a turn is told best by what moves as if it were rigid, and slowly in ``v``, which would miss every stretch otherwise.

No gradient goes through any of this (``docs/orientation.md`` says why, with a number): ``means`` carry all of it.

This file is the reference, and what runs on a card; ``deformation_cpu`` does the same in one pass. Both compute in
double precision whatever the inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product

import torch
from torch import Tensor

from stages.gaussians.neighbours import nearest_neighbours
from stages.geometry.rotations import best_quaternions, quaternion_matrices

NEIGHBOURS = 24
"""[ours]"""

KEPT = 0.05
"""A neighbour whose distance has changed by this share counts a quarter for the turn. [ours]"""

KEPT_STRETCH = 1.0
"""The same for the stretch. [ours]"""

RIDGE = 0.05
"""Weight of the identity in the fit of the stretch, over the largest variance of the neighbourhood. [ours]"""

FLAT = 0.3
"""Share of the largest variance from which on a stretch along an axis is believed in full. [ours]"""

STRETCH = (0.5, 2.0)
"""Smallest and largest principal stretch. [ours]"""

TURN_MIN = 1e-3
"""How clear the best rotation must be: the slope of Horn's polynomial at its largest root, for ``|B| = 1``. It is about
8 times the share of the second extent in the first."""

APART = 0.005
"""By how much a larger scale counts as larger still where axes are sought, once or twice. [ours]"""

JACOBI_SWEEPS = 6

SQUARINGS = 20
"""Of Horn's matrix: settles turns that are as unclear as ``TURN_MIN`` allows."""

FRAMES_AT_ONCE = 4
"""Of a large asset: bounds memory."""


@dataclass(frozen=True)
class Neighbourhoods:
    """The neighbours of N Gaussians at rest, and what of their deformation does not depend on the motion."""

    means: Tensor  # [N, 3] at rest
    indices: Tensor  # [N, k]
    weights: Tensor  # [N, k] fall with distance at rest

    @staticmethod
    def of(means: Tensor, k: int = NEIGHBOURS) -> Neighbourhoods:
        """The neighbourhoods of ``means`` [N, 3]."""
        indices, distances = nearest_neighbours(means, k)
        near = distances.mean(dim=1, keepdim=True).clamp(min=1e-30) if indices.shape[1] else distances
        return Neighbourhoods(means, indices, torch.exp(-((distances / near).square())))

    def weights_of(self, P: Tensor, X: Tensor, kept: float = KEPT) -> Tensor:
        """Weights [..., N, k] of neighbours that are at ``P`` [N, k, 3] from their Gaussian at rest, now at ``X``
        [..., N, k, 3]."""
        rest, moved = P.norm(dim=-1), X.norm(dim=-1)
        change = (moved - rest).abs() / torch.minimum(moved, rest).clamp(min=1e-30)
        return self.weights.to(P) / (1.0 + (change / kept).square()).square()


def deform(around: Neighbourhoods, quats: Tensor, scales: Tensor, moved: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Turns [T, N, 4], quaternions [T, N, 4] and standard deviations [T, N, 3] of Gaussians that have gone to
    ``moved`` [T, N, 3], in order; ``quats`` [N, 4] and ``scales`` [N, 3] are those at rest. Quaternions are wxyz, each
    of the sign that is nearest to the frame before; the k-th axis and scale are what the k-th at rest has become."""
    parts = [_local(around, part) for part in moved.detach().double().split(FRAMES_AT_ONCE)]
    turns, stretches, still = (torch.cat(column) for column in zip(*parts, strict=True))
    turns = same_sign(turns, torch.tensor([1.0, 0.0, 0.0, 0.0]).to(turns), still)
    R_rest = quaternion_matrices(quats.double())  # columns: the axes at rest
    half = R_rest.mT @ stretches @ R_rest * scales.double()[:, None, :]  # in the axes at rest
    apart = half * (1.0 + APART * scales.argsort(dim=-1, stable=True).argsort(dim=-1).to(half))[:, None, :]
    V = jacobi(apart @ apart.mT)[1]
    V = V @ same_axes(V, still)
    axes = quaternion_matrices(turns) @ R_rest @ V
    moved_scales = (half.mT @ V).norm(dim=-2)
    # the signs are told against the exact quaternions at rest, which frames that have not moved keep as they are
    moved_quats = same_sign(best_quaternions(axes, SQUARINGS), quats.double(), still).to(moved)
    return (
        turns.to(moved),
        torch.where(still[..., None], quats.to(moved), moved_quats),
        torch.where(still[..., None], scales.to(moved), moved_scales.to(moved)),
    )


def _local(around: Neighbourhoods, moved: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Turns [T, N, 4] of either sign, stretches [T, N, 3, 3], and whether no neighbour has moved [T, N]."""
    identity = torch.eye(3).to(moved)
    if around.indices.shape[1] == 0:
        shape = moved.shape[:2]
        one = torch.tensor([1.0, 0.0, 0.0, 0.0]).to(moved)
        return one.expand(*shape, 4), identity.expand(*shape, 3, 3), torch.ones(shape).to(moved).bool()
    rest = around.means.to(moved)
    P = rest[around.indices] - rest[:, None]  # [N, k, 3]
    X = moved[:, around.indices] - moved[:, :, None]  # [T, N, k, 3]
    B = X.mT @ (around.weights_of(P, X)[..., None] * P)
    turns = best_quaternions(B, SQUARINGS)
    told, still = _is_clear(B, turns), (X == P).flatten(-2).all(dim=-1)
    VP = around.weights_of(P, X, KEPT_STRETCH)[..., None] * P
    stretches = _clamped(best_stretches(quaternion_matrices(turns).mT @ X.mT @ VP, P.mT @ VP))
    keep = told & ~still
    one = torch.tensor([1.0, 0.0, 0.0, 0.0]).to(turns)
    return torch.where(keep[..., None], turns, one), torch.where(keep[..., None, None], stretches, identity), still


def best_stretches(G: Tensor, C: Tensor) -> Tensor:
    """The best stretches S [..., 3, 3], not clamped, for ``G = sum v R^T X P^T`` and ``C = sum v P P^T``."""
    identity = torch.eye(3).to(C)
    variances, U = jacobi(C)
    largest = variances.amax(dim=-1)
    ridge = 2.0 * RIDGE * largest[..., None, None]
    fitted = U.mT @ (G + G.mT) @ U + ridge * identity
    S = fitted / (variances[..., :, None] + variances[..., None, :] + ridge)
    share = variances / largest.clamp(min=1e-300)[..., None]
    believed = share[..., :, None] * share[..., None, :] * (1.0 - identity)
    believed = believed + torch.diag_embed((share / FLAT).clamp(max=1.0))
    return U @ (identity + believed * (S - identity)) @ U.mT


def jacobi(symmetric: Tensor, sweeps: int = JACOBI_SWEEPS) -> tuple[Tensor, Tensor]:
    """Eigenvalues [..., 3] and eigenvectors [..., 3, 3] (columns, a rotation) of ``symmetric`` [..., 3, 3]: cyclic
    Jacobi rotations of at most 45 degrees (Golub and Van Loan, 8.5)."""
    M = symmetric
    V = torch.eye(3, dtype=M.dtype, device=M.device).expand_as(M).clone()
    for _ in range(sweeps):
        for p, q in ((0, 1), (0, 2), (1, 2)):
            a, b, d = M[..., p, p], M[..., p, q], M[..., q, q]
            half = 0.5 * (d - a)
            root = half.abs() + (half.square() + b.square()).sqrt()
            sign = torch.where(half < 0, -1.0, 1.0).to(M)
            t = torch.where(root > 0, sign * b / root.clamp(min=1e-300), torch.zeros_like(b))
            c = 1.0 / (1.0 + t * t).sqrt()
            s = t * c
            G = torch.eye(3, dtype=M.dtype, device=M.device).expand_as(M).clone()
            G[..., p, p], G[..., q, q], G[..., p, q], G[..., q, p] = c, c, s, -s
            M, V = G.mT @ M @ G, V @ G
    return M.diagonal(dim1=-2, dim2=-1), V


def same_axes(V: Tensor, still: Tensor) -> Tensor:
    """Signed permutations ``Q`` [T, N, 3, 3] for which ``V Q`` of each frame is nearest to that of the frame before,
    of eigenvectors ``V`` [T, N, 3, 3]; the identity where a Gaussian is ``still`` [T, N]."""
    known = _namings().to(V)
    before, names = torch.eye(3).to(V).expand_as(V[0]), []
    for now, rests in zip(V, still, strict=True):
        agreement = torch.einsum("...ij,nij->...n", now.mT @ before, known)
        nearest = known[agreement.argmax(dim=-1)]
        names.append(torch.where(rests[..., None, None], torch.eye(3).to(V), nearest))
        before = now @ names[-1]
    return torch.stack(names) if names else torch.zeros_like(V)


def _namings() -> Tensor:
    """The 24 rotations [24, 3, 3] that take coordinate axes to coordinate axes, the identity first."""
    rows = torch.eye(3)
    found = [
        torch.diag(torch.tensor(signs)) @ rows[list(order)]
        for order in permutations(range(3))
        for signs in product((1.0, -1.0), repeat=3)
    ]
    return torch.stack([matrix for matrix in found if torch.linalg.det(matrix) > 0])


def same_sign(quats: Tensor, rest: Tensor, still: Tensor) -> Tensor:
    """``quats`` [T, N, 4], each of the sign nearest to the frame before, the first to ``rest`` [4] or [N, 4]; ``rest``
    where a Gaussian is ``still`` [T, N]."""
    before, found = rest.expand_as(quats[0]) if len(quats) else rest, []
    for now, rests in zip(quats, still, strict=True):
        turned = torch.where((now * before).sum(dim=-1, keepdim=True) < 0.0, -now, now)
        before = torch.where(rests[..., None], rest, turned)
        found.append(before)
    return torch.stack(found) if found else quats


def _is_clear(B: Tensor, turns: Tensor) -> Tensor:
    """Whether the rotation by ``turns`` [..., 4] is better than all others for ``B`` [..., 3, 3]: the slope of the
    characteristic polynomial of Horn's matrix at its largest root, which is the product of the gaps to the others
    (Theobald 2005)."""
    size = B.square().sum(dim=(-2, -1)).sqrt()
    unit = B / size.clamp(min=1e-150)[..., None, None]
    root = (quaternion_matrices(turns) * unit).sum(dim=(-2, -1))
    slope = 4.0 * root**3 - 4.0 * root - 8.0 * torch.linalg.det(unit)
    return (size > 1e-150) & (slope > TURN_MIN)


def _clamped(stretches: Tensor) -> Tensor:
    """``stretches`` [..., 3, 3] with its principal values within ``STRETCH``."""
    values, V = jacobi(stretches)
    return V @ (values.clamp(*STRETCH)[..., None] * V.mT)
