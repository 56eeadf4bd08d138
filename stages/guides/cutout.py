"""The object of a video without its background, where that is plain: how much of each pixel the object covers.

1. The background's colour is that of the border of the first frame; a later frame may differ a little, as generated
   videos do.
2. What clearly differs from it is the object; specks are left out, pinholes filled.
3. A pixel on the outline is a mixture of the object's colour beside it and the background's: how much of each follows
   from where it lies between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from stages.errors import BadInput

BORDER = 0.03
"""Share of the shorter side that is looked at for the background's colour. [ours]"""

PLAIN, PLAIN_SHARE = 0.08, 0.75
"""How far a pixel of a plain background may be from its colour (largest channel), and how much of the border must be.
[ours]"""

DRIFT = 0.15
"""How far the background's colour may go from that of the first frame. [ours]"""

CLEAR = 0.06
"""What differs from the background by this much, or by ``NOISES`` of its noise, is the object. [ours]"""

NOISES = 5.0
SPECK, PINHOLE = 0.01, 0.005
"""Of the object's area: smaller pieces are no part of it, smaller holes are none. [ours]"""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Cutout:
    """A video whose background is gone."""

    rgb: Tensor  # [T, H, W, 3] over ``background``, which is clean
    mask: Tensor  # [T, H, W] in [0, 1]
    background: Tensor  # [3]


def cut_out(rgb: Tensor) -> Cutout:
    """Cut the object out of ``rgb`` [T, H, W, 3] in [0, 1], whose background is plain.

    Raises:
        BadInput: the background of a frame is not plain, or nothing is before it; with the frame's number.
    """
    frames = rgb.numpy()
    first = background_colour(frames[0])
    if first is None:
        raise BadInput(
            "The background of the video is not plain.",
            "Give --mask DIR, one picture a frame, white where the object is; or film before one colour.",
        )
    colours, masks = [], []
    for index, frame in enumerate(frames):
        colour = background_colour(frame, near=first)
        if colour is None:
            raise BadInput(
                f"The background changes in frame {index} of the video.",
                "Cut the video before that frame, or give --mask DIR.",
            )
        mask = matte(frame, colour)
        if mask.max() < 0.5:
            raise BadInput(f"Nothing stands out from the background in frame {index} of the video.")
        clean = np.where(mask[..., None] > 0, frame + (1.0 - mask[..., None]) * (first - colour), first)
        masks.append(torch.from_numpy(mask))
        colours.append(torch.from_numpy(clean.astype(np.float32)).clamp(0.0, 1.0))
    return Cutout(torch.stack(colours), torch.stack(masks), torch.from_numpy(first))


def background_colour(frame: Array, near: Array | None = None) -> Array | None:
    """The colour [3] that most of the border of ``frame`` [H, W, 3] has; None where it has no such colour.

    Args:
        near: the colour that it should have, up to ``DRIFT``: what is farther is taken for the object.
    """
    height, width = frame.shape[:2]
    band = max(1, round(BORDER * min(height, width)))
    ring = np.ones((height, width), dtype=bool)
    ring[band:-band, band:-band] = False
    border = frame[ring]
    wanted = PLAIN_SHARE
    if near is not None:
        border, total = border[np.abs(border - near).max(axis=1) < DRIFT], len(border)
        wanted *= 0.5 * total / max(len(border), 1)  # the object may be before half of it
    if not len(border):
        return None
    colour = np.median(border, axis=0).astype(np.float32)
    plain = np.abs(border - colour).max(axis=1) < PLAIN
    return colour if plain.mean() >= wanted else None


def matte(frame: Array, colour: Array) -> Array:
    """How much of each pixel of ``frame`` [H, W, 3] is not background of ``colour`` [3], [H, W] in [0, 1]."""
    away = np.abs(frame - colour).max(axis=-1)
    quiet = away[away < PLAIN]
    noise = 1.4826 * float(np.median(quiet)) if len(quiet) else 0.0
    solid = without_specks(away > max(CLEAR, NOISES * noise))
    inner = ndimage.binary_erosion(solid, iterations=2)
    if not inner.any():
        return solid.astype(np.float32)
    rim = ndimage.binary_dilation(solid) & ~inner
    rows, columns = ndimage.distance_transform_edt(~inner, return_distances=False, return_indices=True)
    full = frame[rows, columns] - colour  # the object's colour beside each pixel, over the background's
    share = ((frame - colour) * full).sum(axis=-1) / np.maximum((full * full).sum(axis=-1), 1e-6)
    return np.where(rim, share.clip(0.0, 1.0), inner).astype(np.float32)


def without_specks(solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """``solid`` [H, W] without pieces and holes that are too small to be any."""
    for keep_true, least in ((True, SPECK), (False, PINHOLE)):
        labels, count = ndimage.label(solid if keep_true else ~solid)
        if count < 2:
            continue
        areas = np.bincount(labels.ravel())
        areas[0] = 0
        small = areas < least * (areas.max() if keep_true else solid.sum())
        small[0] = False
        solid = np.where(small[labels], not keep_true, solid)
    return solid
