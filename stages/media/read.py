"""Videos and pictures from files."""

from __future__ import annotations

import struct
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


def read_image(path: Path) -> Tensor:
    """Pixels, uint8 [H, W, 3]; what is transparent is on white. Raises ``BadInput``: damaged."""
    try:
        with Image.open(path) as image:
            whole = image.convert("RGBA")
        white = Image.new("RGBA", whole.size, (255, 255, 255, 255))
        return torch.from_numpy(np.asarray(Image.alpha_composite(white, whole).convert("RGB")).copy())
    except (OSError, ValueError, LookupError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise BadInput(
            f"{path} cannot be read as a picture: {first_line(error)}.", "Remove it, or make it again."
        ) from None
