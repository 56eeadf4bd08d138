"""Which part of the camera's picture a video shows: services crop, letterbox or stretch what they are given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stages.cameras import Camera
from stages.errors import BadInput

SAME = 0.02
"""Relative difference of two aspect ratios that are the same: services round sides to multiples of 16. [ours]"""

UNLIKE = 0.15
"""Mean difference, where the object is, between the first frame and the still from which they do not show the same.
[ours]"""


@dataclass(frozen=True)
class Fit:
    """How a video lies in its camera's picture."""

    said: str  # for the person, "" where nothing was done
    rows: slice  # of the video that are used
    columns: slice
    camera: Camera  # for those, as large as they are


def fit_aspect(first: Tensor, camera: Camera, still: Tensor | None, size: tuple[int, int] | None = None) -> Fit:
    """How a video whose ``first`` frame is [H, W, 3] lies in the picture of ``camera``.

    Args:
        still: [h, w, 3] what the camera sees of the asset at rest, over the video's background. Only with it another
            aspect ratio can be understood.
        size: width and height of the video's file, for the person, where ``first`` was made smaller.

    Raises:
        BadInput: the aspect ratio is another, and the first frame is not a cropped, letterboxed or stretched still.
    """
    height, width = first.shape[:2]
    ratio = (width / height) / (camera.width / camera.height)
    if abs(ratio - 1.0) <= SAME:
        return Fit("", slice(0, height), slice(0, width), scaled(camera, width, height))
    said = size or (width, height)
    told = f"The video is {said[0]} x {said[1]} pixels, the camera's picture {camera.width} x {camera.height}"
    if still is None:
        raise BadInput(f"{told}.", "Make both of one shape, with still --size.")
    fits = list(_fits(told, height, width, camera))
    errors = [_unlike(first[fit.rows, fit.columns], fit, camera, still) for fit in fits]
    best = min(range(len(fits)), key=errors.__getitem__)
    if errors[best] > UNLIKE:
        raise BadInput(
            f"{told}, and its first frame is not that picture cropped, letterboxed or stretched.",
            "Make both of one shape, with still --size.",
        )
    return fits[best]


def scaled(camera: Camera, width: int, height: int) -> Camera:
    """``camera`` for pictures of ``width`` x ``height`` that show the same."""
    K = camera.K.clone()
    K[0] *= width / camera.width
    K[1] *= height / camera.height
    return replace(camera, K=K, width=width, height=height)


def _fits(told: str, height: int, width: int, camera: Camera) -> Iterator[Fit]:
    whole = slice(0, height), slice(0, width)
    larger = max(width / camera.width, height / camera.height)
    K = camera.K.clone()
    K[:2] *= larger  # what is beyond the video was cropped, evenly on both sides
    K[0, 2] += 0.5 * (width - larger * camera.width)
    K[1, 2] += 0.5 * (height - larger * camera.height)
    yield Fit(f"{told}: it was cropped.", *whole, replace(camera, K=K, width=width, height=height))
    smaller = min(width / camera.width, height / camera.height)
    inner = round(smaller * camera.width), round(smaller * camera.height)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    yield Fit(
        f"{told}: it has bars, which are left out.",
        slice(top, top + inner[1]),
        slice(left, left + inner[0]),
        scaled(camera, *inner),
    )
    yield Fit(f"{told}: it was stretched.", *whole, scaled(camera, width, height))


def _unlike(part: Tensor, fit: Fit, camera: Camera, still: Tensor) -> float:
    """Mean difference between ``part`` of the first frame and what ``still`` shows there."""
    height, width = part.shape[:2]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    x = (x - fit.camera.K[0, 2]) / fit.camera.K[0, 0] * camera.K[0, 0] + camera.K[0, 2]
    y = (y - fit.camera.K[1, 2]) / fit.camera.K[1, 1] * camera.K[1, 1] + camera.K[1, 2]
    grid = torch.stack([2.0 * x / camera.width - 1.0, 2.0 * y / camera.height - 1.0], dim=-1)
    seen = torch.nn.functional.grid_sample(
        still.permute(2, 0, 1)[None].float(), grid[None], padding_mode="border", align_corners=False
    )[0].permute(1, 2, 0)
    object_too = (seen - still[0, 0]).abs().amax(dim=-1) + (part - still[0, 0]).abs().amax(dim=-1) > 0.1
    difference = (part - seen).abs().mean(dim=-1)
    return float(difference[object_too].mean()) if bool(object_too.any()) else 1.0
