"""The video that shows a run: what ``render`` made, else the preview of its last stage."""

from __future__ import annotations

import calendar
import time
from dataclasses import dataclass
from pathlib import Path

from stages.errors import BadInput
from stages.media.excerpt import Excerpt, excerpt

TYPES = {".mp4": "video/mp4", ".webm": "video/webm"}
"""Suffixes of videos that browsers play -> what they are called there."""

MOST_BYTES = 8_000_000
"""Larger videos are not put into a page."""

PICTURES, SIDE = 8, 240
"""A contact sheet's frames, and their size in pixels."""


@dataclass(frozen=True)
class Footage:
    """One video file."""

    path: Path
    mime: str
    excerpt: Excerpt

    @property
    def about(self) -> str:
        """What it is, in words."""
        one = self.excerpt
        return f"{one.frames} frames, {one.width} x {one.height}"


def find_footage(run: Path, source: str, made: str) -> tuple[Footage | None, str]:
    """The best video of a run whose result is in the folder ``source`` since ``made`` (UTC, as in ``complete.json``),
    and what is wrong with it or with better ones: "" when nothing is. The one that ``render`` writes unless told
    otherwise comes first, then the newest other one in the run, then the preview of its last stage."""
    if not source:
        return None, ""
    about = ""
    named = [run / "renders" / f"{source}{suffix}" for suffix in TYPES]
    others = [path for place in (run / "renders", run) for path in place.glob("*") if path.suffix in TYPES]
    others = sorted(set(others).difference(named), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in (*named, *others, run / source / "preview.mp4"):
        if not path.is_file():
            continue
        where = path.relative_to(run)
        if older(path, made) and path.stem != "preview":
            about = about or f"{where} was rendered before its motion was made again"
        elif path.stat().st_size > MOST_BYTES:
            about = about or f"{where} is too large for a page ({path.stat().st_size / 1e6:.0f} MB)"
        else:
            try:
                footage = Footage(path, TYPES[path.suffix], excerpt(path, PICTURES, SIDE))
            except BadInput:
                about = about or f"{where} is not a video that can be read"
                continue
            is_preview = path.parent.name == source
            return footage, about or ("Only its preview is there" if is_preview else "")
    return None, about or "It has no video yet"


def older(path: Path, made: str) -> bool:
    """Whether a file was written before ``made``; False where that is not known. Copies are younger, never older."""
    try:
        return path.stat().st_mtime < calendar.timegm(time.strptime(made, "%Y-%m-%dT%H:%M:%SZ"))
    except (OSError, ValueError):
        return False
