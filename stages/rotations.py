"""Quaternions wxyz and rotation matrices: the few formulas that several blocks need."""

from __future__ import annotations

import torch
from torch import Tensor


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
    """Unit quaternions wxyz of the rotations nearest to ``matrices`` [..., 3, 3] (few of them: uses scipy)."""
    from scipy.spatial.transform import Rotation

    U, _, Vh = torch.linalg.svd(matrices)
    sign = torch.linalg.det(U @ Vh)
    U = torch.cat([U[..., :2], U[..., 2:] * sign[..., None, None]], dim=-1)
    xyzw = Rotation.from_matrix((U @ Vh).reshape(-1, 3, 3).numpy()).as_quat()
    quats = torch.from_numpy(xyzw).to(matrices)[:, [3, 0, 1, 2]]
    return quats.reshape(*matrices.shape[:-2], 4)


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
