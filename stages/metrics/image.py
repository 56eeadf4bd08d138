"""Image metrics: PSNR, SSIM, alpha where no object should be, and colours that change."""

from __future__ import annotations

import torch
from torch import Tensor


def psnr(image: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of images in [0, 1]; equal images give 100 (the ceiling used here)."""
    error = float((image.double() - truth.double()).square().mean())
    return min(100.0, -10.0 * torch.log10(torch.tensor(max(error, 1e-30))).item())


def ssim(image: Tensor, truth: Tensor) -> float:
    """``structural_similarity`` of two images as a number, computed in float64 on the CPU."""
    return float(structural_similarity(image.detach().cpu().double(), truth.detach().cpu().double()))


def structural_similarity(image: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004) of [H, W, 3] in [0, 1], differentiable: 11 x 11 Gaussian window, sigma
    1.5, mean over channels and the positions where the window lies inside the image (at least 11 px a side)."""
    height, width = image.shape[:2]
    down, across = _window_matrix(height).to(image), _window_matrix(width).to(image)

    def local_mean(x: Tensor) -> Tensor:
        """[C, H, W]; the window is a product, and as matrices ten times faster on a CPU than as a convolution."""
        return down @ x @ across.T

    x, y = image.permute(2, 0, 1), truth.permute(2, 0, 1)
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = local_mean(torch.cat([x, y, x * x, y * y, x * y])).chunk(5)
    var_x, var_y = mean_xx - mean_x**2, mean_yy - mean_y**2
    covariance = mean_xy - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return (similarity / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean()


def _window_matrix(size: int) -> Tensor:
    """Matrix [size - 10, size] of the window along one side, each row a position inside."""
    line = torch.exp(-((torch.arange(11, dtype=torch.float64) - 5) ** 2) / (2 * 1.5**2))
    rows = torch.arange(size - 10)[:, None]
    matrix = torch.zeros(size - 10, size, dtype=torch.float64)
    return matrix.scatter_(1, rows + torch.arange(11), (line / line.sum()).expand(size - 10, 11))


def off_object_alpha(alpha: Tensor, means_px: Tensor, reach_px: float) -> float:
    """Share of the opacity that lies farther than ``reach_px`` from every Gaussian that was opaque at rest.

    ``alpha`` [H, W]; ``means_px`` [N, 2] projected centres of the *solid* Gaussians, moved. Smears of blown-up or torn
    Gaussians and floaters count, a limb that swings out does not.
    """
    height, width = alpha.shape
    total = float(alpha.sum())
    if total == 0.0:
        return 0.0
    occupied = torch.zeros(height, width)
    column, row = means_px[:, 0].floor().long(), means_px[:, 1].floor().long()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    occupied[row[inside], column[inside]] = 1.0
    radius = max(1, round(reach_px))
    near = torch.nn.functional.max_pool2d(occupied[None, None], 2 * radius + 1, stride=1, padding=radius)[0, 0]
    return float((alpha.cpu() * (near == 0)).sum()) / total


def colour_drift(rgb: Tensor, alpha: Tensor, background: float) -> float:
    """Half the L1 distance between the body's colour histograms in every frame and in the first, mean over frames:
    0 where each colour keeps its share of the body, 1 where all are others.

    ``rgb`` [T, H, W, 3] over a grey ``background``, ``alpha`` [T, H, W].
    """
    colors = (rgb - background * (1.0 - alpha[..., None])) / alpha[..., None].clamp(min=1e-4)
    histograms = torch.stack([colour_histogram(*frame) for frame in zip(colors, alpha, strict=True)])
    return float(0.5 * (histograms[1:] - histograms[:1]).abs().sum(dim=1).mean())


def colour_histogram(colors: Tensor, alpha: Tensor) -> Tensor:
    """Shares [64] of the body in each of 4 x 4 x 4 bins of ``colors`` [H, W, 3], weighted by ``alpha`` [H, W]."""
    bins = ((4 * colors.reshape(-1, 3).clamp(0.0, 0.999)).long() * torch.tensor([16, 4, 1])).sum(dim=1)
    weights = alpha.reshape(-1)
    return torch.zeros(64).index_add_(0, bins, weights) / weights.sum().clamp(min=1e-6)
