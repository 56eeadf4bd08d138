"""How far renders of a motion are from videos of the same cameras, which a prior has sampled or somebody has given."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Agreement:
    """The video that renders are nearest to, and how near."""

    difference: float  # mean over views
    by_view: list[float]  # mean absolute difference of pixels in [0, 1]
    sample: int  # which of the K, from 0


def view_agreement(renders: Tensor, videos: Tensor) -> Agreement:
    """Mean absolute difference over all pixels, colours and frames: 0 where they are the same. [ours]

    Args:
        renders: [V, T, H, W, 3] of the motion, in [0, 1].
        videos: uint8 [K, V, T, H, W, 3], K videos of each camera; those of one number belong together.

    Returns:
        Of the number whose videos are nearest in the mean over views.
    """
    assert videos.dtype == torch.uint8 and videos.shape[1:] == renders.shape
    away = torch.stack([_differences(renders, video) for video in videos])  # [K, V]
    nearest = int(away.mean(dim=1).argmin())
    return Agreement(float(away[nearest].mean()), away[nearest].tolist(), nearest)


def _differences(renders: Tensor, video: Tensor) -> Tensor:
    """[V]; view by view, to hold one in float at a time."""
    return torch.stack(
        [(there.float() / 255.0 - here).abs().double().mean() for here, there in zip(renders, video, strict=True)]
    )
