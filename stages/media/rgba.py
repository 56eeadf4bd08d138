"""Videos of other people's making: mp4, webm, mov, gif or a folder of frames, with their transparency."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import torch
from PIL import Image, ImageSequence
from torch import Tensor

from stages.errors import BadInput, first_line
from stages.media.read import DAMAGED, IMAGES, MOST_BYTES, VIDEOS, open_picture

WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Codec -> the decoder of ffmpeg that reads its transparency; the usual one leaves it out."""

OPAQUE = 250
"""Bytes of alpha from which a pixel is opaque: some encoders round."""


@dataclass(frozen=True)
class Video:
    """T frames of H x W pixels."""

    rgba: Tensor  # uint8 [T, H, W, 4], straight alpha
    times: Tensor  # [T] from 0 to 1: when each frame begins
    seconds: float | None = None  # that all of it lasts; None: numbered pictures do not say

    @property
    def has_alpha(self) -> bool:
        """Whether anything of it is transparent."""
        return bool((self.rgba[..., 3] < OPAQUE).any())


def read_rgba(source: Path, longest_px: int | None = None) -> tuple[Video, tuple[int, int]]:
    """All frames of ``source``, and the width and height that they have there.

    Args:
        longest_px: frames with a longer side are made smaller when they are read; None: as they are.

    Raises:
        BadInput: no such file or folder, no frames in it, frames of different sizes, damaged, or too long to hold.
    """
    if not source.exists():
        raise BadInput(f"There is no video {source}.", "Give an mp4, webm, mov, gif, or a folder of frames.")
    if source.is_dir():
        found = _of_folder(source)
    elif source.suffix.lower() == ".gif":
        found = _of_gif(source)
    elif source.suffix.lower() in VIDEOS:
        found = _of_ffmpeg(source)
    else:
        raise BadInput(f"{source} is no video.", f"Give one of {', '.join(VIDEOS)}, or a folder of frames.")
    frames: list[Tensor] = []
    seconds: list[float] = []
    held = 0
    size: tuple[int, int] | None = None
    for picture, second in found:
        if size is not None and picture.size != size:
            raise BadInput(f"Frame {len(frames)} of {source} is {picture.size}, those before it {size}.")
        size = picture.size
        scale = min(1.0, (longest_px or max(size)) / max(size))
        if scale < 1.0:
            smaller = (max(1, round(scale * size[0])), max(1, round(scale * size[1])))
            picture = picture.resize(smaller, Image.Resampling.BOX, reducing_gap=None)
        frames.append(torch.from_numpy(np.asarray(picture).copy()))
        seconds.append(second)
        held += frames[-1].numel()
        if held > MOST_BYTES:
            raise BadInput(f"{source} is too long to hold in memory.", "Cut it, or make it smaller.")
    if size is None:
        raise BadInput(f"{source} has no frames.", "Remove it, or make it again.")
    times = torch.tensor(seconds, dtype=torch.float32)
    lasts = None if source.is_dir() or len(seconds) < 2 else seconds[-1] * len(seconds) / (len(seconds) - 1)
    return Video(torch.stack(frames), times / times[-1].clamp(min=1e-6), lasts), size


def frame_files(folder: Path) -> list[Path]:
    """The pictures of ``folder`` by the numbers in their names: 2 before 10. Raises ``BadInput``: there are none."""
    files = [path for path in folder.iterdir() if path.suffix.lower() in IMAGES]
    if not files:
        raise BadInput(f"{folder} has no frames.", f"Frames are numbered pictures: {', '.join(IMAGES)}.")
    return sorted(files, key=lambda path: [int(part) if part.isdigit() else part for part in _parts(path.stem)])


def _parts(name: str) -> list[str]:
    """Text and numbers in turn, text first."""
    return re.split(r"(\d+)", name)


def _of_folder(folder: Path) -> Iterator[tuple[Image.Image, float]]:
    for index, path in enumerate(frame_files(folder)):
        try:
            with open_picture(path) as picture:
                yield picture.convert("RGBA"), float(index)
        except DAMAGED as error:
            raise BadInput(f"{path} cannot be read as a picture: {first_line(error)}.", "Make it again.") from None


def _of_gif(path: Path) -> Iterator[tuple[Image.Image, float]]:
    try:
        with open_picture(path) as pictures:
            second = 0.0
            for picture in ImageSequence.Iterator(pictures):
                yield picture.convert("RGBA"), second
                second += max(float(picture.info.get("duration", 0)), 10.0) / 1000.0
    except (*DAMAGED, EOFError) as error:
        raise BadInput(f"{path} cannot be read as a gif: {first_line(error)}.", "Make it again.") from None


def _of_ffmpeg(path: Path) -> Iterator[tuple[Image.Image, float]]:
    try:
        reader = imageio_ffmpeg.read_frames(path, pix_fmt="rgba", bits_per_pixel=32)
        about = next(reader)
        decoder = WITH_ALPHA.get(str(about["codec"]))
        if decoder is not None:
            reader.close()
            reader = imageio_ffmpeg.read_frames(path, pix_fmt="rgba", bits_per_pixel=32, input_params=["-c:v", decoder])
            about = next(reader)
        width, height = about["size"]
        for index, data in enumerate(reader):
            yield Image.frombytes("RGBA", (width, height), bytes(data)), index / max(float(about["fps"]), 1e-3)
    except BadInput:
        raise
    except Exception as error:  # ffmpeg's own kinds for a damaged file
        reason = first_line(error)[:160]
        raise BadInput(f"{path} cannot be read as a video: {reason}.", "Remove it, or make it again.") from None
