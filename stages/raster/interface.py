"""What every rasterizer takes and gives.

A rasterizer is a callable on plain tensors: colours are already RGB (``stages.gaussians.sh`` evaluates spherical
harmonics), so that the three backends share one small signature. Frames are rendered together because the CPU backend
spreads them over threads and gsplat batches them as cameras.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Rendered:
    """T images of one asset."""

    rgb: Tensor  # [T, H, W, 3], over the background when one was given, else premultiplied by alpha
    alpha: Tensor  # [T, H, W, 1] in [0, 1]


class Rasterizer(Protocol):
    """Projects and composites Gaussians as gsplat does (0.3 px low-pass, alpha at most 0.999, early stop at 1e-4)."""

    def __call__(
        self,
        means: Tensor,  # [T, N, 3] world
        quats: Tensor,  # [T, N, 4] wxyz, any length (normalised inside)
        scales: Tensor,  # [T, N, 3] or [N, 3] linear
        opacities: Tensor,  # [T, N] or [N] linear
        colors: Tensor,  # [T, N, 3] or [N, 3] RGB
        viewmats: Tensor,  # [T, 4, 4] camera-from-world
        Ks: Tensor,  # [T, 3, 3] pixels
        width: int,
        height: int,
        background: Tensor | None = None,  # [3] or [T, H, W, 3] RGB
    ) -> Rendered: ...
