"""Quaternions wxyz and rotation matrices: the few formulas that several blocks need."""

from __future__ import annotations

import torch
from torch import Tensor

_HALF = 0.5**0.5

UPRIGHT = {
    "y": (1.0, 0.0, 0.0, 0.0),
    "-y": (0.0, 1.0, 0.0, 0.0),
    "z": (_HALF, -_HALF, 0.0, 0.0),
    "-z": (_HALF, _HALF, 0.0, 0.0),
    "x": (_HALF, 0.0, 0.0, _HALF),
    "-x": (_HALF, 0.0, 0.0, -_HALF),
}
"""The turn, wxyz, that makes an axis of a file +y."""


def quaternion_matrices(quats: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] of quaternions wxyz [..., 4] of any length."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(dim=-1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], dim=-1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], dim=-1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], dim=-1),
    ]
    return torch.stack(rows, dim=-2)


def matrix_quaternions(matrices: Tensor) -> Tensor:
    """Unit quaternions wxyz [..., 4] of the rotations nearest to ``matrices`` [..., 3, 3], see ``best_quaternions``."""
    return best_quaternions(matrices)


def quaternion_multiply(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton product of wxyz quaternions, broadcasting: turn by ``b`` first, then by ``a``."""
    aw, ax, ay, az = a.unbind(dim=-1)
    bw, bx, by, bz = b.unbind(dim=-1)
    return torch.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        dim=-1,
    )


def continuous_quaternions(quats: Tensor) -> Tensor:
    """``quats`` [T, ..., 4] with their signs so chosen that each is nearest to the one before: what is in between can
    then be interpolated. The first keeps its sign."""
    aligned = torch.where((quats[1:] * quats[:-1]).sum(dim=-1, keepdim=True) < 0.0, -1.0, 1.0)
    return torch.cat([quats[:1], quats[1:] * aligned.cumprod(dim=0).to(quats)])


def best_rotations(covariances: Tensor) -> Tensor:
    """Rotations [..., 3, 3] that maximise ``trace(R^T A)`` for ``A`` [..., 3, 3], see ``best_quaternions``."""
    return quaternion_matrices(best_quaternions(covariances))


def best_quaternions(covariances: Tensor, iterations: int = 12) -> Tensor:
    """Unit quaternions wxyz [..., 4] of the rotations that maximise ``trace(R^T A)`` for ``A`` [..., 3, 3]: the SVD
    solution with its determinant fix (Kabsch 1976), by shifted power iteration on Horn's quaternion matrix (Horn 1987).

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
    K = K + 3.0 * torch.eye(4, dtype=K.dtype, device=K.device)  # eigenvalues lie in [-sqrt 3, sqrt 3]: all positive
    for _ in range(iterations):
        K = K @ K
        K = K / K.abs().amax(dim=(-2, -1), keepdim=True)
    column = K.square().sum(dim=-2).argmax(dim=-1)
    quats = torch.gather(K, -1, column[..., None, None].expand(*column.shape, 4, 1))[..., 0]
    return torch.nn.functional.normalize(quats, dim=-1).to(covariances.dtype)
