"""How a Gaussian turns and stretches: as its neighbourhood does. A motion says where points go, and nothing else.

Of a Gaussian at rest at ``p_i`` with neighbours ``p_j``, moved to ``x_i`` and ``x_j``, with ``P = p_j - p_i`` and
``X = x_j - x_i``, the local deformation ``A = R S`` is a turn ``R`` after a stretch ``S``:

1. ``R`` is the rotation nearest to ``B = sum_j w_j X P^T`` (Kabsch 1976, its determinant fixed), which is also the best
   one where all neighbours lie in a plane.
2. ``S`` is the symmetric matrix that then fits best, ``sum_j w_j |R^T X - S P|^2``, held near the identity with the
   weight ``RIDGE``: across a surface neighbours say nothing of the stretch, and nothing is assumed. Its principal
   stretches are clamped to ``STRETCH``.
3. The moved covariance is ``A C A^T``. Its axes are found by Jacobi rotations of at most 45 degrees that begin at the
   turned axes of the Gaussian at rest, so that each axis stays the axis it was.

A neighbourhood that has no extent along two directions (a Gaussian alone, points that coincide or lie on a line) keeps
``R = S = 1``. Weights fall with distance, and with how much a neighbour's distance has changed: points of another limb
that only touches here at rest have no say in how this one turns.

No gradient goes through any of this (``docs/method.md`` says why, with a number): ``means`` carry all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stages.gaussians.neighbours import nearest_neighbours
from stages.geometry.rotations import best_quaternions, quaternion_matrices

NEIGHBOURS = 24
"""[ours]"""

RIDGE = 0.05
"""Weight of the identity in the fit of the stretch, over the mean square extent of the neighbourhood. [ours]"""

STRETCH = (0.5, 2.0)
"""Smallest and largest principal stretch. [ours]"""

EXTENT_MIN = 1e-4
"""Share of the largest extent that the second one must have for a turn to be told at all."""

JACOBI_SWEEPS = 4

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
        near = distances.mean(dim=1, keepdim=True).clamp(min=1e-30) if k else distances
        return Neighbourhoods(means, indices, torch.exp(-((distances / near).square())))

    @torch.no_grad()
    def deformation(self, moved: Tensor) -> tuple[Tensor, Tensor]:
        """Turns, quaternions wxyz [T, N, 4], and stretches, symmetric [T, N, 3, 3], of Gaussians at ``moved``
        [T, N, 3]."""
        parts = [self._deformation(part) for part in moved.detach().split(FRAMES_AT_ONCE)]
        return torch.cat([turns for turns, _ in parts]), torch.cat([stretches for _, stretches in parts])

    def _deformation(self, moved: Tensor) -> tuple[Tensor, Tensor]:
        num_frames, num_points = moved.shape[:2]
        identity = torch.eye(3, dtype=moved.dtype, device=moved.device)
        if self.indices.shape[1] < 2:
            one = torch.tensor([1.0, 0.0, 0.0, 0.0]).to(moved)
            return one.expand(num_frames, num_points, 4), identity.expand(num_frames, num_points, 3, 3)
        P = self.means[self.indices] - self.means[:, None]  # [N, k, 3]
        X = moved[:, self.indices] - moved[:, :, None]  # [T, N, k, 3]
        weights = self.weights_of(P, X)  # [T, N, k]
        WP = weights[..., None] * P
        B = X.mT @ WP  # sum_j w_j X P^T
        C = P.mT @ WP  # sum_j w_j P P^T
        turns = best_quaternions(B)
        told = _has_extent(C)
        turns = torch.where(told[..., None], turns, torch.tensor([1.0, 0.0, 0.0, 0.0]).to(turns))
        ridge = RIDGE * C.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None] * identity
        fitted = (quaternion_matrices(turns).mT @ B + ridge) @ torch.linalg.inv(C + ridge + _tiny(C) * identity)
        stretches = _clamped(0.5 * (fitted + fitted.mT))
        return turns, torch.where(told[..., None, None], stretches, identity)

    def weights_of(self, P: Tensor, X: Tensor) -> Tensor:
        return self.weights * self._kept(P, X)

    @staticmethod
    def _kept(P: Tensor, X: Tensor) -> Tensor:
        """How much of its distance each neighbour has kept, as a weight [T, N, k]."""
        rest, moved = P.norm(dim=-1), X.norm(dim=-1)
        change = (moved - rest).abs() / torch.minimum(moved, rest).clamp(min=1e-30)
        return 1.0 / (1.0 + (change / 0.3).square()).square()


def moved_axes(quats: Tensor, scales: Tensor, turns: Tensor, stretches: Tensor) -> tuple[Tensor, Tensor]:
    """Quaternions [T, N, 4] and standard deviations [T, N, 3] of the covariances ``A C A^T``, ``A = R S``.

    ``quats`` [N, 4] and ``scales`` [N, 3] are the Gaussians' at rest, ``turns`` [T, N, 4] is R, ``stretches``
    [T, N, 3, 3] is S. The k-th axis and scale are those that the k-th at rest has become.
    """
    R_rest = quaternion_matrices(quats)  # columns: the axes at rest
    half = R_rest.mT @ stretches @ R_rest * scales[:, None, :]  # in the axes at rest
    variances, V = jacobi(half @ half.mT)
    axes = quaternion_matrices(turns) @ R_rest @ V
    return best_quaternions(axes), variances.clamp(min=0.0).sqrt()


def jacobi(symmetric: Tensor, sweeps: int = JACOBI_SWEEPS) -> tuple[Tensor, Tensor]:
    """Eigenvalues [..., 3] and eigenvectors [..., 3, 3] (columns, a rotation) of ``symmetric`` [..., 3, 3], each turned
    as little as possible from the axis of the same number: cyclic Jacobi with the smaller angle (Golub and Van Loan,
    8.5)."""
    M = symmetric
    V = torch.eye(3, dtype=M.dtype, device=M.device).expand_as(M).clone()
    for _ in range(sweeps):
        for p, q in ((0, 1), (0, 2), (1, 2)):
            a, b, d = M[..., p, p], M[..., p, q], M[..., q, q]
            half = 0.5 * (d - a)
            root = half.abs() + (half.square() + b.square()).sqrt()
            sign = torch.where(half < 0, -1.0, 1.0)
            t = torch.where(root > 0, sign * b / root.clamp(min=1e-38), torch.zeros_like(b))
            c = 1.0 / (1.0 + t * t).sqrt()
            s = t * c
            G = torch.eye(3, dtype=M.dtype, device=M.device).expand_as(M).clone()
            G[..., p, p], G[..., q, q], G[..., p, q], G[..., q, p] = c, c, s, -s
            M, V = G.mT @ M @ G, V @ G
    return M.diagonal(dim1=-2, dim2=-1), V


def _has_extent(C: Tensor) -> Tensor:
    """Whether points of second moments ``C`` [..., 3, 3] spread in two directions at least."""
    trace = C.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    # the sum of the principal 2 x 2 minors is l1 l2 + l1 l3 + l2 l3
    minors = 0.5 * (trace.square() - (C * C).sum(dim=(-2, -1)))
    return minors > EXTENT_MIN * trace.square().clamp(min=1e-60)


def _tiny(C: Tensor) -> Tensor:
    return (C.diagonal(dim1=-2, dim2=-1).sum(dim=-1) <= 0.0).to(C)[..., None, None]


def _clamped(stretches: Tensor) -> Tensor:
    """``stretches`` [..., 3, 3] with its principal values within ``STRETCH``."""
    values, V = jacobi(stretches)
    return V @ (values.clamp(*STRETCH)[..., None] * V.mT)
