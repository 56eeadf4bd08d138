"""Numbered splats, one file a frame.

SuperSplat (its ``file-handler``) takes several dropped files for an animation when all names are one prefix and a
number, and sorts by the number; hence ``name_0000.ply``. The 62 floats a Gaussian of a ``.ply`` are those of INRIA's
trainer, in its order (``stages.gaussians.formats.ply``), with zeros where the asset has no harmonics. The other formats
are smaller: see ``stages.gaussians.formats`` for what they round or leave out. Gaussians of ``.compressed.ply`` and
``.sog`` come in the order of a curve through the asset at rest, the same in all frames: they compress better so.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stages.exporting.recording import Recording
from stages.gaussians.formats import UP, splat_suffix, write_splat
from stages.gaussians.formats.ply import write_ply
from stages.gaussians.spread import along_curve

ORDERED = (".compressed.ply", ".sog")


def numbered(out: Path, index: int) -> Path:
    """``name_0007.ply`` of ``name.ply``, ``name_0007.compressed.ply`` of ``name.compressed.ply``."""
    ending = splat_suffix(out) or out.suffix
    name = out.name[: len(out.name) - len(ending)]
    return out.with_name(f"{name}_{index:04d}{out.name[len(name) :]}")


def write_sequence(out: Path, recording: Recording, written: Callable[[int], None], up: str | None = None) -> None:
    """Write ``recording`` to numbered files beside ``out``, whose suffix says which format; each replaced in one piece.

    Args:
        written: is told how many frames are done.
        up: the axis of the files that shall point up; None: the one that programs which open the format take for it.

    Raises ``CannotWrite``, or ``BadInput`` for a suffix that is no splat format or an axis that is none.
    """
    suffix = splat_suffix(out)
    up = up or UP.get(suffix or "", "y")
    order = along_curve(recording.frames.asset.means) if suffix in ORDERED else None
    for index in range(recording.frames.num_frames):
        path, frame = numbered(out, index), recording.frames.asset_at(index)
        if suffix == ".ply":
            write_ply(path, frame, pad_sh_degree=3, up=up)
        else:
            write_splat(path, frame if order is None else frame.select(order), up=up)
        written(index + 1)


def left_over(out: Path, num_frames: int) -> list[Path]:
    """Frames beyond ``num_frames`` that a longer sequence of the same name has left."""
    beyond: list[Path] = []
    while numbered(out, num_frames + len(beyond)).exists():
        beyond.append(numbered(out, num_frames + len(beyond)))
    return beyond
