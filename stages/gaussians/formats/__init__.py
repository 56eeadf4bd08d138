"""Splat files of every kind: the reader by content or suffix, the writer by suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stages.errors import BadInput
from stages.events import Report, silent
from stages.gaussians.asset import Gaussians
from stages.gaussians.formats.compressed_ply import write_compressed_ply
from stages.gaussians.formats.ksplat import read_ksplat
from stages.gaussians.formats.ply import read_ply, write_ply
from stages.gaussians.formats.ply_file import ply_elements
from stages.gaussians.formats.sog import META, is_sog, read_sog
from stages.gaussians.formats.splat_file import read_splat_file, write_splat_file
from stages.gaussians.formats.splat_glb import holds_splats, read_splat_glb
from stages.gaussians.formats.spz import read_spz, write_spz
from stages.gaussians.formats.write_sog import write_sog

READERS: dict[str, Callable[[Path, Report], Gaussians]] = {
    ".ply": read_ply,
    ".splat": read_splat_file,
    ".spz": read_spz,
    ".ksplat": read_ksplat,
    ".sog": read_sog,
    META: read_sog,
    ".glb": read_splat_glb,
}
MAGIC = {b"ply\n": ".ply", b"ply\r": ".ply", b"\x1f\x8b": ".spz", b"NGSP": ".spz", b"PK\x03\x04": ".sog"}
"""How files begin. ``.splat`` and ``.ksplat`` have no mark of their own, and go by suffix."""

WRITERS: dict[str, Callable[..., None]] = {
    ".compressed.ply": write_compressed_ply,
    ".ply": write_ply,
    ".splat": write_splat_file,
    ".spz": write_spz,
    ".sog": write_sog,
}
"""By suffix, the longer ones first: each takes a path, Gaussians and ``up``."""

UP = {".compressed.ply": "-y", ".ply": "-y", ".splat": "-y", ".spz": "y", ".sog": "-y"}
"""Which axis of a file programs that open it take for up: those for splats took over the trainer's y down, but for
``.spz``, whose specification says y up."""


def splat_format(path: Path) -> str | None:
    """The key of ``READERS`` for a file or folder: its content decides, else its name; None for neither."""
    if is_sog(path):
        return META
    if path.suffix.lower() in (".glb", ".gltf"):
        return ".glb" if holds_splats(path) else None
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
    fields = elements.get("vertex", (0, []))[1]
    faces = max(elements.get(name, (0, []))[0] for name in ("face", "tristrips"))
    return faces > 0 and not {"f_dc_0", "scale_0", "packed_position"} & set(fields)


def is_mesh(path: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether ``path``, whose suffix is one of ``suffixes`` of meshes, holds a mesh and no Gaussians."""
    suffix = path.suffix.lower()
    return suffix in suffixes and (is_mesh_ply(path) if suffix == ".ply" else splat_format(path) is None)


def read_splat(path: Path, report: Report = silent) -> Gaussians:
    """Read and check a splat file of any kind; ``report`` is told what of it is dropped, changed or not used. Raises
    ``BadInput``."""
    name = splat_format(path)
    if name is None:
        raise BadInput(f"{path} is no splat file this program reads.", f"Known: {', '.join(READERS)}.")
    return READERS[name](path, report)


def splat_suffix(path: Path) -> str | None:
    """The key of ``WRITERS`` that a path ends in: of ``a.compressed.ply`` the longer one."""
    return next((suffix for suffix in WRITERS if path.name.lower().endswith(suffix)), None)


def write_splat(path: Path, gaussians: Gaussians, *, up: str = "y") -> None:
    """Write ``gaussians`` in the format that the suffix of ``path`` names, in one piece, its axis ``up`` pointing up.

    ``.ply`` keeps everything; ``.compressed.ply``, ``.spz`` and ``.sog`` quantise (see there), ``.splat`` quantises and
    keeps only degree-0 colour. Raises ``BadInput`` for another suffix, ``CannotWrite``.
    """
    suffix = splat_suffix(path)
    if suffix is None:
        raise BadInput(f"{path} is no splat file this program writes.", f"Choose one of: {', '.join(WRITERS)}.")
    WRITERS[suffix](path, gaussians, up=up)
