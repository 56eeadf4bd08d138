"""What keeps a motion plausible: smooth in time (TV-3D) and locally rigid (ARAP)."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.rotations import quaternion_matrices


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


def best_rotations(covariances: Tensor, iterations: int = 12) -> Tensor:
    """Rotations [..., 3, 3] that maximise ``trace(R^T A)`` for ``A`` [..., 3, 3]: the SVD solution with its
    determinant fix (Kabsch 1976), by shifted power iteration on Horn's quaternion matrix (Horn 1987).

    The optimal rotation is the eigenvector of the largest eigenvalue of a symmetric 4 x 4 matrix. Squaring that matrix
    ``iterations`` times separates its eigenvalues as 2^iterations plain power steps would, reflections included, with
    nothing but batched products: 20 times faster here than batched SVDs.
    """
    A = covariances.double()
    scale = A.square().sum(dim=(-2, -1)).sqrt().clamp(min=1e-30)
    A = A / scale[..., None, None]
    xx, xy, xz = A[..., 0, 0], A[..., 1, 0], A[..., 2, 0]
    yx, yy, yz = A[..., 0, 1], A[..., 1, 1], A[..., 2, 1]
    zx, zy, zz = A[..., 0, 2], A[..., 1, 2], A[..., 2, 2]
    K = torch.stack(
        [
            torch.stack([xx + yy + zz, yz - zy, zx - xz, xy - yx], dim=-1),
            torch.stack([yz - zy, xx - yy - zz, xy + yx, zx + xz], dim=-1),
            torch.stack([zx - xz, xy + yx, yy - xx - zz, yz + zy], dim=-1),
            torch.stack([xy - yx, zx + xz, yz + zy, zz - xx - yy], dim=-1),
        ],
        dim=-2,
    )
    K = K + 3.0 * torch.eye(
        4, dtype=K.dtype, device=K.device
    )  # eigenvalues lie in [-sqrt 3, sqrt 3]: make all positive
    for _ in range(iterations):
        K = K @ K
        K = K / K.abs().amax(dim=(-2, -1), keepdim=True)
    column = K.square().sum(dim=-2).argmax(dim=-1)
    quats = torch.gather(K, -1, column[..., None, None].expand(*column.shape, 4, 1))[..., 0]
    return quaternion_matrices(quats).to(covariances.dtype)
