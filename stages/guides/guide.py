"""What a motion is fitted to: one video of the asset, and the camera that filmed it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from stages.cameras import Camera


@dataclass(frozen=True, kw_only=True)
class Guide:
    """A video that a motion is to follow. T frames of H x W pixels, the size of ``camera``."""

    camera: Camera
    rgb: Tensor  # [T, H, W, 3] in [0, 1]
    mask: Tensor  # [T, H, W] in [0, 1], how much of each pixel the asset covers
    times: Tensor  # [T] frame_time of each frame, rising within [0, 1]
    background: Tensor  # [3], or [H, W, 3]: what is behind the asset
    starts_at_rest: bool = True  # whether the first frame shows the asset as it is
    seconds: float | None = None  # that the video lasts, where it says so
