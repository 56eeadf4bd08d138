"""Numbered splats, one file a frame.

SuperSplat (its ``file-handler``) takes several dropped ``.ply`` files for an animation when all names are one prefix
and a number, and sorts by the number; hence ``name_0000.ply``. The 62 floats a Gaussian are those of INRIA's trainer,
in its order (``stages.gaussians.formats.ply``), with zeros where the asset has no harmonics. ``.splat`` and ``.spz``
are smaller: see ``splat_file`` and ``spz`` there for what they round or leave out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stages.exporting.recording import Recording
from stages.gaussians.formats import write_splat
from stages.gaussians.formats.ply import write_ply


def numbered(out: Path, index: int) -> Path:
    """``name_0007.ply`` of ``name.ply``."""
    return out.with_name(f"{out.stem}_{index:04d}{out.suffix}")


def write_sequence(out: Path, recording: Recording, written: Callable[[int], None]) -> None:
    """Write ``recording`` to numbered files beside ``out``, whose suffix says which format; each replaced in one piece.

    ``written`` is told how many frames are done. Raises ``CannotWrite``, or
    ``BadInput`` for a suffix that is no splat format.
    """
    for index in range(recording.frames.num_frames):
        path, frame = numbered(out, index), recording.frames.asset_at(index)
        if out.suffix.lower() == ".ply":
            write_ply(path, frame, pad_sh_degree=3)
        else:
            write_splat(path, frame)
        written(index + 1)


def left_over(out: Path, num_frames: int) -> list[Path]:
    """Frames beyond ``num_frames`` that a longer sequence of the same name has left."""
    beyond: list[Path] = []
    while numbered(out, num_frames + len(beyond)).exists():
        beyond.append(numbered(out, num_frames + len(beyond)))
    return beyond
