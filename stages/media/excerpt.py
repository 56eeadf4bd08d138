"""A few frames of a video file, small, for pages that show it at a glance."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
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
        with imageio.get_reader(path, format="FFMPEG") as reader:  # type: ignore[arg-type]
            width, height = reader.get_meta_data()["size"]
            pictures = [webp(frame, side) for index, frame in enumerate(reader) if index in wanted]
    except (OSError, RuntimeError, ValueError, IndexError, KeyError):
        raise BadInput(f"{path} is not a video that can be read.", "Make it again: animus3d render") from None
    return Excerpt(frames=total, seconds=seconds, width=width, height=height, pictures=pictures)


def webp(pixels: np.ndarray[Any, Any] | Tensor, side: int) -> bytes:
    """A picture [H, W, 3], uint8 or a tensor in [0, 1], as WebP within ``side`` x ``side`` pixels."""
    picture = Image.fromarray(to_bytes(pixels).numpy() if isinstance(pixels, Tensor) else pixels)
    picture.thumbnail((side, side))
    file = io.BytesIO()
    picture.save(file, format="WEBP", quality=82, method=4)
    return file.getvalue()
