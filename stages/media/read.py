"""Videos and pictures from files."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stages.errors import BadInput, first_line

VIDEOS = (".mp4", ".webm", ".mov", ".mkv", ".avi", ".gif")
IMAGES = (".png", ".jpg", ".jpeg")
MOST_BYTES = 2 * 2**30
"""A longer video is refused before it fills the memory."""

DAMAGED = (
    OSError, ValueError, LookupError, SyntaxError, struct.error, Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)  # fmt: skip
"""What Pillow raises for a picture that is none, or too large."""


def read_video(path: Path) -> Tensor:
    """Frames, uint8 [T, H, W, 3]. Raises ``BadInput``: damaged, without frames, or too long to hold."""
    frames: list[np.ndarray] = []
    held = 0
    try:
        with imageio.get_reader(path) as reader:
            for frame in reader:  # type: ignore[attr-defined]
                frames.append(np.asarray(frame)[..., :3])
                held += frames[-1].nbytes
                if held > MOST_BYTES:
                    raise BadInput(f"{path} is too long to hold in memory.", "Cut it, or make it smaller.")
    except BadInput:
        raise
    except Exception as error:  # imageio and ffmpeg raise their own kinds for a damaged file
        reason = first_line(error)[:160]
        raise BadInput(f"{path} cannot be read as a video: {reason}.", "Remove it, or make it again.") from None
    if not frames:
        raise BadInput(f"{path} has no frames.", "Remove it, or make it again.")
    return torch.from_numpy(np.stack(frames))


def open_picture(path: Path) -> Image.Image:
    """A picture that is not decoded yet. Raises any of ``DAMAGED``, also where it claims 90 million pixels or more."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(path)


def read_image(path: Path) -> Tensor:
    """Pixels, uint8 [H, W, 3]; what is transparent is on white. Raises ``BadInput``: damaged."""
    try:
        with open_picture(path) as image:
            whole = image.convert("RGBA")
        white = Image.new("RGBA", whole.size, (255, 255, 255, 255))
        return torch.from_numpy(np.asarray(Image.alpha_composite(white, whole).convert("RGB")).copy())
    except DAMAGED as error:
        raise BadInput(
            f"{path} cannot be read as a picture: {first_line(error)}.", "Remove it, or make it again."
        ) from None
