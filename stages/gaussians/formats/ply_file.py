"""Opening PLY files, whatever is in them, with plyfile."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from plyfile import PlyData, PlyParseError

from stages.errors import BadInput, first_line
from stages.gaussians.formats.checked import check_claim

UP = "animus3d: up "
"""How a comment of a file of ours begins that says which of its axes points up."""

_SIZES = {
    **dict.fromkeys(("char", "uchar", "int8", "uint8"), 1),
    **dict.fromkeys(("short", "ushort", "int16", "uint16"), 2),
    **dict.fromkeys(("int", "uint", "float", "int32", "uint32", "float32"), 4),
    **dict.fromkeys(("double", "float64"), 8),
}


def ply_elements(path: Path) -> dict[str, tuple[int, list[str]]]:
    """What the header of ``path`` promises: element name -> (count, names of its properties); empty when unreadable.

    Raises ``BadInput`` where an element is larger than the file: nothing may be allocated on its word.
    """
    elements: dict[str, tuple[int, list[str]]] = {}
    sizes: dict[str, int] = {}
    name, text = "", False
    try:
        with path.open("rb") as file:
            header = file.read(1 << 16).split(b"end_header")[0].decode("ascii", "replace")
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {first_line(error)}.") from None
    for words in (line.split() for line in header.splitlines()):
        if words[:2] == ["format", "ascii"]:
            text = True
        elif len(words) == 3 and words[0] == "element" and words[2].isdigit():
            name = words[1]
            elements[name], sizes[name] = (int(words[2]), []), 0
        elif len(words) >= 3 and words[0] == "property" and name:
            elements[name][1].append(words[-1])
            sizes[name] += 2 if text else _SIZES.get(words[2] if words[1] == "list" else words[1], 1)
    for name, (count, _) in elements.items():
        check_claim(path, count, count * sizes[name] - text, path.stat().st_size)
    return elements


def _plain_header(path: Path) -> io.BytesIO | None:
    """The file with a header of ASCII alone, where its own has other letters: comments in UTF-8, which plyfile refuses.
    They become question marks. None where nothing is to be done."""
    with path.open("rb") as file:
        header = file.read(1 << 16).split(b"end_header")[0]
    if header.isascii():
        return None
    plain = bytes(byte if byte < 128 else ord("?") for byte in header)
    return io.BytesIO(plain + path.read_bytes()[len(header) :])


def open_ply(path: Path) -> PlyData:
    """The file's elements. Raises ``BadInput``: missing, not a PLY, cut short, promising more than it holds."""
    if not path.is_file():
        raise BadInput(f"There is no file {path}.", "Check the path.")
    ply_elements(path)
    try:
        ply = PlyData.read(_plain_header(path) or str(path))
        for element in ply:
            np.asarray(element.data)
        return ply
    except (PlyParseError, ValueError, LookupError, TypeError, OverflowError, EOFError) as error:
        raise BadInput(f"{path} is not a readable PLY file, or is cut short: {first_line(error)}.") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {first_line(error)}.") from None


def up_comments(up: str) -> list[str]:
    """The comments of a file whose axis ``up`` points up: none where that is y."""
    return [] if up == "y" else [f"{UP}{up}"]
