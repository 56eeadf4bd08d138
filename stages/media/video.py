"""Frames into files: mp4, webm, mov, gif. Every file is replaced in one piece."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import imageio.v2 as imageio
import imageio_ffmpeg
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stages.errors import BadInput
from stages.files import replacing
from stages.media.contact_sheet import to_bytes

logging.getLogger("imageio_ffmpeg").addHandler(logging.NullHandler())  # what went wrong is told below, in one line


def write_mp4(path: Path, frames: Tensor, fps: int) -> None:
    """H.264 (yuv420p, so that everything plays it) of frames [T, H, W, 3] in [0, 1]; odd sizes as ``even``."""
    _write(path, frames, fps, "libx264", "yuv420p", quality=8)


def write_webm(path: Path, frames: Tensor, fps: int) -> None:
    """VP9 of frames [T, H, W, 3 or 4], for browsers; the fourth channel is kept as alpha. Odd sizes as ``even``."""
    # alt-ref frames cannot hold alpha; a bitrate of 0 leaves the size to crf
    parameters = ["-crf", "18", "-b:v", "0", "-auto-alt-ref", "0", "-deadline", "good", "-cpu-used", "4"]
    _write(path, frames, fps, "libvpx-vp9", "yuva420p" if frames.shape[-1] == 4 else "yuv420p", parameters)


def write_mov(path: Path, frames: Tensor, fps: int) -> None:
    """ProRes 4444 of frames [T, H, W, 3 or 4], for editing programs; large, and its alpha is exact to 16 bits."""
    pixels = "yuva444p10le" if frames.shape[-1] == 4 else "yuv444p10le"
    _write(path, frames, fps, "prores_ks", pixels, ["-profile:v", "4444", "-alpha_bits", "16", "-vendor", "apl0"])


def write_gif(path: Path, frames: Tensor, fps: int) -> None:
    """Looping gif of frames [T, H, W, 3 or 4]; with four channels, alpha below a half is transparent."""
    images = []
    for one in frames:
        frame = to_bytes(one).numpy()
        picture = Image.fromarray(frame[..., :3]).quantize(255, method=Image.Quantize.MEDIANCUT)
        if frame.shape[-1] == 4:
            mask = Image.fromarray(np.where(frame[..., 3] < 128, 255, 0).astype(np.uint8))
            picture.paste(255, mask=mask)
        images.append(picture)
    transparency = {"transparency": 255} if frames.shape[-1] == 4 else {}
    with replacing(path) as temporary:
        images[0].save(
            temporary, format="GIF", save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0,
            disposal=2, **transparency,
        )  # fmt: skip


WRITERS: dict[str, Callable[[Path, Tensor, int], None]] = {
    ".mp4": write_mp4, ".webm": write_webm, ".mov": write_mov, ".gif": write_gif,
}  # fmt: skip
"""Suffix -> what writes such a file."""


ENCODED = (".mp4", ".webm", ".mov")
"""Those of them that ffmpeg encodes."""

SMALLEST_PX, LARGEST_PX = 16, 16384
"""Sides that the codecs take."""


def check_size(path: Path, width: int, height: int) -> None:
    """Raise ``BadInput`` when frames of this size cannot go into a video."""
    if min(width, height) < SMALLEST_PX or max(width, height) > LARGEST_PX:
        raise BadInput(
            f"{path} cannot be {width} x {height}: sides of a video have {SMALLEST_PX} to {LARGEST_PX} pixels.",
            "Choose another --size, or write a .png.",
        )


def even(frames: Tensor) -> Tensor:
    """Frames [T, H, W, C] with their last row and column repeated where there is an odd number of them: the codecs
    store chroma for two pixels at a time."""
    if frames.shape[1] % 2:
        frames = torch.cat([frames, frames[:, -1:]], dim=1)
    return torch.cat([frames, frames[:, :, -1:]], dim=2) if frames.shape[2] % 2 else frames


def ffmpeg_version() -> str:
    """ "ffmpeg 7.0" and the like: the program that imageio brings or finds. Raises ``RuntimeError`` without one."""
    imageio_ffmpeg.get_ffmpeg_exe()
    return f"ffmpeg {imageio_ffmpeg.get_ffmpeg_version()}"


def _write(
    path: Path,
    frames: Tensor,
    fps: int,
    codec: str,
    pixels: str,
    parameters: Sequence[str] = (),
    quality: int | None = None,
) -> None:
    """Encode. Raises ``BadInput``: the frames are too small or too large for the codec; ``CannotWrite``: not
    all of them are in the file, for ffmpeg ended before, as on a full disk."""
    check_size(path, frames.shape[2], frames.shape[1])
    frames = even(frames)
    with replacing(path) as temporary:
        writer = imageio.get_writer(
            temporary, fps=fps, codec=codec, quality=quality, pixelformat=pixels, macro_block_size=1,
            output_params=list(parameters), ffmpeg_log_level="quiet",
        )  # fmt: skip
        try:
            with writer:
                for frame in _bled(frames):  # one at a time: all of them are large
                    writer.append_data(to_bytes(frame).numpy())
        except OSError:  # of many lines, with ffmpeg's whole command in it
            raise OSError("the encoder ended before it had all frames") from None
        _must_hold(temporary, len(frames))


def _must_hold(path: Path, count: int) -> None:
    """Raise ``OSError`` where a file has not ``count`` frames: imageio does not tell how ffmpeg has ended."""
    try:
        found = imageio_ffmpeg.count_frames_and_secs(str(path))[0]
    except RuntimeError:  # ffmpeg cannot read it
        found = 0
    if found != count:
        raise OSError(f"the encoder ended after {found} of {count} frames")


def _bled(frames: Tensor) -> Tensor:
    """Frames whose transparent pixels hold the mean colour of the others: an encoder mixes colours of neighbours, and
    what is black there would darken the outline."""
    if frames.shape[-1] != 4:
        return frames
    color, alpha = frames[..., :3], frames[..., 3:]
    mean = (color * alpha).sum(dim=(0, 1, 2)) / alpha.sum().clamp(min=1e-6)
    return torch.cat([torch.where(alpha > 0.5 / 255.0, color, mean), alpha], dim=-1)
