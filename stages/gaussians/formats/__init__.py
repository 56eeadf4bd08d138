"""Splat files of every kind: the reader by content or suffix, the writer by suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stages.errors import BadInput
from stages.gaussians.asset import Gaussians
from stages.gaussians.formats.ksplat import read_ksplat
from stages.gaussians.formats.ply import read_ply, write_ply
from stages.gaussians.formats.ply_file import ply_elements
from stages.gaussians.formats.sog import read_sog
from stages.gaussians.formats.splat_file import read_splat_file, write_splat_file
from stages.gaussians.formats.spz import read_spz, write_spz

READERS: dict[str, Callable[[Path], Gaussians]] = {
    ".ply": read_ply,
    ".splat": read_splat_file,
    ".spz": read_spz,
    ".ksplat": read_ksplat,
    ".sog": read_sog,
    "meta.json": read_sog,
}
MAGIC = {b"ply\n": ".ply", b"ply\r": ".ply", b"\x1f\x8b": ".spz", b"NGSP": ".spz", b"PK\x03\x04": ".sog"}
"""How files begin. ``.splat`` and ``.ksplat`` have no mark of their own, and go by suffix."""

WRITERS: dict[str, Callable[[Path, Gaussians], None]] = {
    ".ply": write_ply,
    ".splat": write_splat_file,
    ".spz": write_spz,
}


def splat_format(path: Path) -> str | None:
    """The key of ``READERS`` for a file: what it begins with decides, else its name; None for neither."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError:
        start = b""  # the reader says what is wrong
    for magic, name in MAGIC.items():
        if start.startswith(magic):
            return name
    return next((name for name in READERS if path.name.lower().endswith(name)), None)


def is_mesh_ply(path: Path) -> bool:
    """Whether ``path`` is a PLY of triangles rather than of Gaussians."""
    if splat_format(path) != ".ply":
        return False
    elements = ply_elements(path)
    faces = max(elements.get(name, (0, []))[0] for name in ("face", "tristrips"))
    return faces > 0 and "f_dc_0" not in elements.get("vertex", (0, []))[1]


def read_splat(path: Path) -> Gaussians:
    """Read and check a splat file of any kind. Raises ``BadInput``."""
    name = splat_format(path)
    if name is None:
        raise BadInput(f"{path} is no splat file this program reads.", f"Known: {', '.join(READERS)}.")
    return READERS[name](path)


def write_splat(path: Path, gaussians: Gaussians) -> None:
    """Write ``gaussians`` in the format that the suffix of ``path`` names, in one piece.

    ``.ply`` keeps everything, ``.spz`` quantises (see ``spz.py``), ``.splat`` quantises and keeps only degree-0 colour.
    Raises ``BadInput`` for another suffix, ``CannotWrite``.
    """
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise BadInput(f"{path} is no splat file this program writes.", f"Choose one of: {', '.join(WRITERS)}.")
    writer(path, gaussians)
