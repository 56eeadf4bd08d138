"""Frames into files: mp4, gif, numbered png. Every file is replaced in one piece."""

from __future__ import annotations

from pathlib import Path

import imageio.v2 as imageio
import numpy as np
from PIL import Image
from torch import Tensor

from stages.media.contact_sheet import to_bytes


def write_mp4(path: Path, frames: Tensor, fps: int) -> None:
    """H.264 (yuv420p, so that everything plays it) of frames [T, H, W, 3] in [0, 1]; odd sizes lose a row or column."""
    pixels = to_bytes(frames).numpy()
    height, width = pixels.shape[1] // 2 * 2, pixels.shape[2] // 2 * 2
    temporary = path.with_name(path.name + ".part.mp4")
    try:
        writer = imageio.get_writer(
            temporary, fps=fps, codec="libx264", quality=8, pixelformat="yuv420p", macro_block_size=1
        )
        with writer:
            for frame in pixels:
                writer.append_data(frame[:height, :width])
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_gif(path: Path, frames: Tensor, fps: int) -> None:
    """Looping gif of frames [T, H, W, 3 or 4]; with four channels, alpha below a half is transparent."""
    images = []
    for frame in to_bytes(frames).numpy():
        picture = Image.fromarray(frame[..., :3]).quantize(255, method=Image.Quantize.MEDIANCUT)
        if frame.shape[-1] == 4:
            mask = Image.fromarray(np.where(frame[..., 3] < 128, 255, 0).astype(np.uint8))
            picture.paste(255, mask=mask)
        images.append(picture)
    temporary = path.with_name(path.name + ".part")
    transparency = {"transparency": 255} if frames.shape[-1] == 4 else {}
    try:
        images[0].save(
            temporary, format="GIF", save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0,
            disposal=2, **transparency,
        )  # fmt: skip
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
