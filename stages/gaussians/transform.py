"""Where an asset stands: turned, mirrored, scaled, centred; its colours go along."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from stages.errors import BadInput
from stages.gaussians.asset import Gaussians
from stages.gaussians.sh import rotate_sh
from stages.geometry.rotations import UPRIGHT, matrix_quaternions, quaternion_matrices, quaternion_multiply


def turn_upright(gaussians: Gaussians, up: str) -> Gaussians:
    """Turn the asset so that its axis ``up`` becomes +y: means, quats and colours."""
    if up not in UPRIGHT:
        raise BadInput(f"--up-axis {up} is not an axis.", f"Choose one of: {', '.join(UPRIGHT)}.")
    if up == "y":
        return gaussians
    return _turned(gaussians, torch.tensor(UPRIGHT[up]))


def lay(gaussians: Gaussians, up: str) -> Gaussians:
    """Turn the asset so that +y comes to lie along the axis ``up``: what ``turn_upright`` undoes, for files of programs
    in which that axis points up."""
    if up not in UPRIGHT:
        raise BadInput(f"--up {up} is not an axis.", f"Choose one of: {', '.join(UPRIGHT)}.")
    if up == "y":
        return gaussians
    turn = torch.tensor(UPRIGHT[up]) * torch.tensor([1.0, -1.0, -1.0, -1.0])
    return _turned(gaussians, turn)


def _turned(gaussians: Gaussians, turn: Tensor) -> Gaussians:
    """The asset turned by a quaternion wxyz [4]: means, quats and colours."""
    R, turn = quaternion_matrices(turn).to(gaussians.means), turn.to(gaussians.quats)
    quats = quaternion_multiply(turn, gaussians.quats)
    return replace(gaussians, means=gaussians.means @ R.T, quats=quats, sh=rotate_sh(gaussians.sh, R))


def place(gaussians: Gaussians, matrix: Tensor) -> Gaussians:
    """The asset moved by an affine ``matrix`` [4, 4]: means, covariances, and colours by the matrix's rotation.

    Where it only turns and scales, a Gaussian keeps its axes; where it stretches or mirrors, they are found again.
    """
    matrix = matrix.double()
    if torch.equal(matrix, torch.eye(4, dtype=torch.float64)):
        return gaussians
    linear = matrix[:3, :3]
    U, stretch, Vh = torch.linalg.svd(linear)
    turn = U @ Vh
    means = gaussians.means.double() @ linear.T + matrix[:3, 3]
    if float(torch.det(turn)) > 0.0 and float(stretch.max() - stretch.min()) < 1e-5 * float(stretch.max()):
        quats = quaternion_multiply(matrix_quaternions(turn[None]), gaussians.quats.double())
        log_scales = gaussians.log_scales + stretch.mean().log()
    else:
        axes = linear @ quaternion_matrices(gaussians.quats.double()) * gaussians.scales.double()[:, None]
        directions, scales, _ = torch.linalg.svd(axes)
        directions = directions * torch.linalg.det(directions).sign()[:, None, None]
        quats, log_scales = matrix_quaternions(directions), scales.clamp(min=1e-30).log()
    return replace(
        gaussians,
        means=means.float(),
        quats=torch.nn.functional.normalize(quats, dim=-1).float(),
        log_scales=log_scales.float(),
        sh=rotate_sh(gaussians.sh, turn.float()),
    )


def mirror(gaussians: Gaussians, axis: str) -> Gaussians:
    """The mirror image across the plane through the origin that ``axis`` ("x", "y" or "z") is normal to.

    A Gaussian's orientation R becomes M R M, a rotation again: in its quaternion the two components across the axis
    change their sign. Colours seen along d are the old ones along M d.
    """
    if axis not in ("x", "y", "z"):
        raise BadInput(f"--flip {axis} is not an axis.", "Choose x, y or z.")
    signs = torch.ones(3)
    signs["xyz".index(axis)] = -1.0
    quats = gaussians.quats * torch.cat([torch.ones(1), -signs])
    return replace(gaussians, means=gaussians.means * signs, quats=quats, sh=rotate_sh(gaussians.sh, torch.diag(signs)))


def rescale(gaussians: Gaussians, factor: float) -> Gaussians:
    """The asset ``factor`` times as large about the origin."""
    if not 0.0 < factor < float("inf"):
        raise BadInput(f"--scale must be above 0 and finite, not {factor:g}.", "--flip x mirrors the asset.")
    grown = gaussians.log_scales + torch.tensor(factor).log()
    return replace(gaussians, means=gaussians.means * factor, log_scales=grown)


def centre(gaussians: Gaussians) -> Gaussians:
    """The asset with the middle of its box at the origin."""
    low, high = gaussians.bounds()
    return replace(gaussians, means=gaussians.means - 0.5 * (low + high))


def looks_upside_down(gaussians: Gaussians) -> bool:
    """Whether most Gaussians lie in the top tenth of the height and few in the lowest: a floor overhead."""
    low, high = gaussians.bounds()
    means = gaussians.means[gaussians.body]
    height = (means[:, 1] - low[1]) / (high[1] - low[1]).clamp(min=1e-12)
    return bool((height > 0.9).float().mean() > 0.5 and (height < 0.1).float().mean() < 0.1)
