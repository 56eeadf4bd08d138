"""Splat files of every kind: the reader by content or suffix, the writer by suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stages.errors import BadInput
from stages.gaussians.asset import Gaussians
from stages.gaussians.ply import write_ply
from stages.gaussians.splat_file import write_splat_file
from stages.gaussians.spz import write_spz

WRITERS: dict[str, Callable[[Path, Gaussians], None]] = {
    ".ply": write_ply,
    ".splat": write_splat_file,
    ".spz": write_spz,
}


def write_splat(path: Path, gaussians: Gaussians) -> None:
    """Write ``gaussians`` in the format that the suffix of ``path`` names, in one piece.

    ``.ply`` keeps everything, ``.spz`` quantises (see ``spz.py``), ``.splat`` quantises and keeps only degree-0 colour.
    Raises ``BadInput`` for another suffix, ``CannotWrite``.
    """
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise BadInput(f"{path} is no splat file this program writes.", f"Choose one of: {', '.join(WRITERS)}.")
    writer(path, gaussians)
