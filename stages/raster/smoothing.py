"""Coarse to fine: blurred residuals give gradients to Gaussians that do not overlap the target. [ours]

A rasterizer's derivative with respect to positions lives on edges: a body that should jump by its own height gets a
pixel residual whose gradient says nothing of "up". Measured on a deer and its *true* jumping clip, eight cameras of 64
pixels: the mean translation that the gradient asks for agrees with the true one by cosine 0.29, after a blur of 5
pixels by 0.87 and of 8 pixels by 0.93; for the score of the embedded prior by -0.18, 0.55 and 0.66.

It also helps cameras to agree. Where a motion may begin at any phase each camera's noise chooses one, and groups of
cameras can stay half a cycle apart, for good: on the exact prior three of ten seeds end at a ratio above 0.6 without
the blur, none above 0.5 with one that is gone halfway (``docs/log/published.md``).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def smooth_gradient(frames: Tensor, sigma_px: float) -> Tensor:
    """``frames`` [T, H, W, C] unchanged, but their gradient ``r`` passes on as ``K r``, K a Gaussian blur.

    For a loss ``|x - x*|^2 / 2`` that is the gradient of ``(x - x*)^T K (x - x*) / 2``: the same minimum, another
    metric.
    Outside the picture the residual counts as zero. ``sigma_px`` below a fifth of a pixel changes nothing.
    """
    return frames if sigma_px < 0.2 else _SmoothGradient.apply(frames, sigma_px)  # type: ignore[no-untyped-call]


class _SmoothGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, frames: Tensor, sigma_px: float) -> Tensor:
        ctx.sigma_px = sigma_px
        return frames.view_as(frames)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        rows = blur_matrix(gradient.shape[1], ctx.sigma_px).to(gradient)
        columns = blur_matrix(gradient.shape[2], ctx.sigma_px).to(gradient)
        return torch.einsum("ij,tjwc,wk->tikc", rows, gradient, columns), None


def blur_matrix(size: int, sigma_px: float) -> Tensor:
    """The symmetric matrix [size, size] of a Gaussian blur along one axis."""
    offsets = torch.arange(size, dtype=torch.float64)
    line = torch.exp(-(offsets**2) / (2.0 * sigma_px**2))
    line = line / (2.0 * line.sum() - 1.0)  # the kernel of an endless line sums to one
    return line[(offsets[:, None] - offsets).abs().long()]
