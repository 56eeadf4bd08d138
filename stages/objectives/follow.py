"""Following videos: how far renders and tracks are from what a camera saw (Animate3D, Eq. 5)."""

from __future__ import annotations

import torch
from torch import Tensor

SOFT = 0.01
"""Where the distance of a track turns from square to linear, as a share of the asset's size."""


def track_loss(
    pixels: Tensor,  # [T, N, 2] where the Gaussians' centres are seen
    targets: Tensor,  # [T, N, 2] where they should be
    weights: Tensor,  # [T, N]
    pixel_size: Tensor | float,  # of one pixel at each Gaussian, over the asset's size: [N] or a number
) -> Tensor:
    """Weighted mean distance of ``pixels`` from ``targets``, over the asset's size; linear but near 0 (Charbonnier), so
    that tracks that are lost do not outvote the others."""
    away = (pixels - targets).square().sum(dim=-1)
    scale = torch.as_tensor(pixel_size).to(away)
    return (weights * ((away * scale**2 + SOFT**2).sqrt() - SOFT)).sum() / weights.sum().clamp(min=1e-6)


def photometric_loss(rgb: Tensor, alpha: Tensor, target_rgb: Tensor, target_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared errors of colours [T, H, W, 3] and of silhouettes [T, H, W], as shares of what the asset covers."""
    covered = target_mask.mean().clamp(min=1e-3)
    return (rgb - target_rgb).square().mean() / covered, (alpha - target_mask).square().mean() / covered
