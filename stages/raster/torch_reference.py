"""The readable twin of the fast backends: plain torch, any dtype, autograd does the gradients.

Memory is pixels x Gaussians for a frame: for tests and for reading, not for use.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.geometry.rotations import quaternion_matrices
from stages.raster.interface import Rendered
from stages.raster.rules import ALPHA_MAX, ALPHA_MIN, FRUSTUM_MARGIN, LOW_PASS_PX2, NEAR, TRANSMITTANCE_MIN


def rasterize(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    background: Tensor | None = None,
) -> Rendered:
    """See ``stages.raster.interface.Rasterizer``."""
    num_frames, num_points = means.shape[:2]
    assert means.shape == (num_frames, num_points, 3) and quats.shape == (num_frames, num_points, 4)
    assert scales.shape in ((num_points, 3), (num_frames, num_points, 3))
    assert opacities.shape in ((num_points,), (num_frames, num_points))
    assert colors.shape in ((num_points, 3), (num_frames, num_points, 3))
    assert viewmats.shape == (num_frames, 4, 4) and Ks.shape == (num_frames, 3, 3)
    assert background is None or background.shape in ((3,), (num_frames, height, width, 3))
    scales, colors = (part.expand(num_frames, -1, -1) if part.dim() == 2 else part for part in (scales, colors))
    opacities = opacities.expand(num_frames, -1)
    behind = [None] * num_frames if background is None else background.expand(num_frames, height, width, 3)
    frames = [
        _frame(means[t], quats[t], scales[t], opacities[t], colors[t], viewmats[t], Ks[t], width, height, behind[t])
        for t in range(num_frames)
    ]
    return Rendered(rgb=torch.stack([rgb for rgb, _ in frames]), alpha=torch.stack([alpha for _, alpha in frames]))


def project(
    means: Tensor, quats: Tensor, scales: Tensor, viewmat: Tensor, K: Tensor, width: int, height: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixel positions [N, 2], 2D covariances [N, 2, 2] with the low-pass, and depths [N]. Means must lie in front."""
    R_cam_world = viewmat[:3, :3]
    x, y, z = (means @ R_cam_world.T + viewmat[:3, 3]).unbind(dim=-1)
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    margin_x, margin_y = FRUSTUM_MARGIN * 0.5 * width / fx, FRUSTUM_MARGIN * 0.5 * height / fy
    u = (x / z).clamp(-(cx / fx + margin_x), (width - cx) / fx + margin_x)
    v = (y / z).clamp(-(cy / fy + margin_y), (height - cy) / fy + margin_y)
    zero = torch.zeros_like(z)
    J = torch.stack(
        [torch.stack([fx / z, zero, -fx * u / z], dim=-1), torch.stack([zero, fy / z, -fy * v / z], dim=-1)], dim=-2
    )
    U = J @ R_cam_world @ quaternion_matrices(quats) * scales[:, None, :]
    low_pass = LOW_PASS_PX2 * torch.eye(2, dtype=means.dtype, device=means.device)
    return torch.stack([fx * x / z + cx, fy * y / z + cy], dim=-1), U @ U.mT + low_pass, z


def _frame(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmat: Tensor,
    K: Tensor,
    width: int,
    height: int,
    background: Tensor | None,
) -> tuple[Tensor, Tensor]:
    depth = means @ viewmat[2, :3] + viewmat[2, 3]
    visible = (depth >= NEAR) & (opacities >= ALPHA_MIN)
    order = torch.argsort(depth[visible], stable=True)
    means, quats, scales, opacities, colors = (
        tensor[visible][order] for tensor in (means, quats, scales, opacities, colors)
    )
    xy, covariances, _ = project(means, quats, scales, viewmat, K, width, height)
    conics = torch.linalg.inv(covariances)

    columns = torch.arange(width, dtype=means.dtype, device=means.device) + 0.5
    rows = torch.arange(height, dtype=means.dtype, device=means.device) + 0.5
    pixels = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).reshape(-1, 1, 2)
    d = xy - pixels  # [P, N, 2]
    sigma = 0.5 * torch.einsum("pni,nij,pnj->pn", d, conics, d)
    alpha = (opacities * torch.exp(-sigma)).clamp(max=ALPHA_MAX)
    alpha = torch.where((sigma < 0) | (alpha < ALPHA_MIN), torch.zeros_like(alpha), alpha)
    after = torch.cumprod(1.0 - alpha, dim=1)
    kept = after > TRANSMITTANCE_MIN
    alpha = torch.where(kept, alpha, torch.zeros_like(alpha))
    before = torch.cat([torch.ones_like(alpha[:, :1]), torch.cumprod(1.0 - alpha, dim=1)], dim=1)
    weights = before[:, :-1] * alpha
    rgb, remaining = weights @ colors, before[:, -1:]
    if background is not None:
        rgb = rgb + remaining * background.to(rgb).reshape(-1, 3)
    return rgb.reshape(height, width, 3), (1.0 - remaining).reshape(height, width, 1)
