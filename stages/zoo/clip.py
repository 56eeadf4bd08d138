"""A body in motion with the sentence that says so."""

from __future__ import annotations

from dataclasses import dataclass

from stages.gaussians import Frames


@dataclass(frozen=True)
class Clip:
    """Frames of a moving body, which begin at rest, and what is said of them."""

    frames: Frames
    caption: str
    verb: str
