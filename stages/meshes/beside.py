"""Files that another file names: found beside it, also where the name was written on Windows or on another machine."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote


def find_beside(folder: Path, name: str) -> Path | None:
    """The file that ``name`` stands for in a file of ``folder``; None when it is not there.

    As it is written, and with its per-cent escapes read; with backslashes for slashes; in whatever case; and what is
    left of it when the folders of another machine are left away, such as ``fur/coat.png`` of ``C:\\me\\fur\\coat.png``.
    """
    plain = name.strip().strip('"')
    for candidate in dict.fromkeys((name, plain, unquote(plain))):
        if candidate and (found := _is_there(folder, candidate)):
            return found
        parts = [part for part in candidate.replace("\\", "/").split("/") if part not in ("", ".")]
        if parts[:1] and parts[0].endswith(":"):
            parts = parts[1:]
        for first in range(len(parts)):
            if found := _in_any_case(folder, parts[first:]):
                return found
    return None


def _is_there(folder: Path, name: str) -> Path | None:
    try:
        return folder / name if (folder / name).is_file() else None
    except (OSError, ValueError):  # longer than names may be, or with a zero byte
        return None


def _in_any_case(folder: Path, parts: list[str]) -> Path | None:
    """The file below ``folder`` whose folders and name are ``parts``, as written or else in another case."""
    if found := _is_there(folder, "/".join(parts)):
        return found
    here = folder
    for part in parts:
        if part == "..":
            here = here / part
            continue
        try:
            same = [one for one in here.iterdir() if one.name.lower() == part.lower()]
        except OSError:
            return None
        if len(same) != 1:
            return None
        here = same[0]
    return here if here.is_file() else None
