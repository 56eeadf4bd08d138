"""What a stage shows on the way: a small video and its contact sheet."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from stages.media.contact_sheet import contact_sheet, write_png
from stages.media.video import write_mp4


def write_preview(stem: Path, frames: Tensor, fps: int) -> Path:
    """Write ``stem.mp4`` and the contact sheet ``stem.png`` of frames [T, H, W, 3]; returns the video's path.

    Small frames are enlarged to about 256 px, by repeating pixels: previews show what the prior sees.
    """
    enlarge = max(1, 256 // frames.shape[1])
    large = frames.repeat_interleave(enlarge, dim=1).repeat_interleave(enlarge, dim=2)
    video = stem.with_suffix(".mp4")
    write_mp4(video, large, fps)
    every = max(1, frames.shape[0] // 8)
    write_png(
        stem.with_suffix(".png"),
        contact_sheet(frames[::every].repeat_interleave(2, 1).repeat_interleave(2, 2), columns=8),
    )
    return video
