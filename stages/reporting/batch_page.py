"""One page about a batch: what has become of every job, its video, and why some have failed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from stages.reporting.footage import TYPES
from stages.reporting.page import fill

MOST_BYTES = 40_000_000
"""Videos are put into the page up to so much in all; later ones are named by their path from the page."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A job as the page shows it."""

    name: str
    asset: str
    prompt: str
    settings: str
    state: str
    why: str
    run: Path


@dataclass(frozen=True)
class Clip:
    """A job with its video: in the page (``data``), beside it (``link``), or without one."""

    job: Shown
    mime: str = ""
    data: bytes | None = None
    link: str = ""


def batch_page(title: str, counts: dict[str, int], jobs: list[Shown], *, today: str, out: Path) -> str:
    """The page about ``jobs``; ``out`` is where it will be."""
    left, clips = MOST_BYTES, []
    for job in jobs:
        if job.state != "done":
            continue
        clip = _clip(job, left, out)
        left -= len(clip.data or b"")
        clips.append(clip)
    others = [job for job in jobs if job.state != "done"]
    return fill("batch.html", title=title, counts=counts, clips=clips, others=others, today=today)


def _clip(job: Shown, left: int, out: Path) -> Clip:
    videos = [path for path in sorted((job.run / "renders").glob("*")) if path.suffix in TYPES]
    if not videos:
        return Clip(job)
    mime = TYPES[videos[0].suffix]
    if videos[0].stat().st_size <= left:
        return Clip(job, mime, data=videos[0].read_bytes())
    return Clip(job, mime, link=Path(os.path.relpath(videos[0], out.parent)).as_posix())
