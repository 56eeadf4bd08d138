"""A few frames of a video file, small, for pages that show it at a glance."""

from __future__ import annotations

import io
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from PIL import Image
from torch import Tensor

from stages.errors import BadInput
from stages.media.contact_sheet import to_bytes


@dataclass(frozen=True)
class Excerpt:
    """What a video file holds."""

    frames: int
    seconds: float
    width: int
    height: int
    pictures: list[bytes]  # WebP


def excerpt(path: Path, count: int, side: int) -> Excerpt:
    """``count`` frames (fewer of a shorter video) from the first to the last, each within ``side`` x ``side`` pixels.

    Raises:
        BadInput: the file is not a video that ffmpeg can read.
    """
    try:
        total, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
        wanted = {round(index) for index in np.linspace(0, total - 1, min(count, total))}
        with closing(imageio_ffmpeg.read_frames(str(path))) as frames:
            width, height = next(frames)["size"]
            found = (np.frombuffer(frame, np.uint8) for index, frame in enumerate(frames) if index in wanted)
            pictures = [webp(frame.reshape(height, width, 3), side) for frame in found]
        if not pictures:
            raise ValueError("no frames")
    except (OSError, RuntimeError, ValueError, IndexError, KeyError, StopIteration):
        raise BadInput(f"{path} is not a video that can be read.", "Make it again: animus3d render") from None
    return Excerpt(frames=total, seconds=seconds, width=width, height=height, pictures=pictures)


def webp(pixels: np.ndarray[Any, Any] | Tensor, side: int) -> bytes:
    """A picture [H, W, 3], uint8 or a tensor in [0, 1], as WebP within ``side`` x ``side`` pixels."""
    picture = Image.fromarray(to_bytes(pixels).numpy() if isinstance(pixels, Tensor) else pixels)
    picture.thumbnail((side, side))
    file = io.BytesIO()
    picture.save(file, format="WEBP", quality=82, method=4)
    return file.getvalue()
