"""Faults at chosen calls of the system: ``faults.c`` compiled, and the piece of memory by which it is told."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parent / "faults.c"
WRITE, OPEN, RENAME, SYNC, REMOVE = 1, 2, 4, 8, 16
"""Kinds of calls that count."""
EVERY = WRITE | OPEN | RENAME | SYNC | REMOVE
KEEPS = WRITE | OPEN | RENAME | SYNC
"""The calls that a full disk refuses."""

ACTIONS = {"none": 0, "kill before": 1, "kill after": 2, "kill halfway": 3, "disk full": 4}
LAYOUT = struct.Struct("@iiiilll128s512s2048s")


def compiler() -> str | None:
    """The C compiler; None: there is none, so calls cannot be counted."""
    return shutil.which("gcc") or shutil.which("cc")


def build(folder: Path) -> Path:
    """Compile the library into ``folder``. Raises ``RuntimeError`` with what the compiler said."""
    out = folder / "faults.so"
    command = [compiler() or "cc", "-shared", "-fPIC", "-O1", "-o", str(out), str(SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return out


@dataclass(frozen=True)
class Fault:
    """What shall go wrong: ``action`` at call number ``at`` of the kinds ``kinds``; ``at`` 0 only counts."""

    action: str = "none"
    at: int = 0
    kinds: int = EVERY
    clock: bool = False  # the clock jumps by years with every look at it


@dataclass(frozen=True)
class Counted:
    """What was seen: calls on files of the folder, what the fault happened to, files written outside."""

    calls: int
    last: str
    outside: int
    stray: str


def new_control(folder: Path) -> Path:
    """A file for the library to map, of which nobody is watched yet."""
    path = folder / "control"
    path.write_bytes(bytes(LAYOUT.size))
    return path


class Control:
    """The file that the library maps: its writer and its reader."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self.memory = mmap.mmap(file.fileno(), LAYOUT.size)

    def arm(self, pid: int, folder: Path, fault: Fault) -> None:
        """Watch process ``pid`` and the files of ``folder``."""
        name = str(folder.resolve()).encode()
        values = (ACTIONS[fault.action], fault.kinds, int(fault.clock), 0, fault.at, 0, b"", b"", name)
        self.memory[:] = LAYOUT.pack(0, *values)
        self.memory[:4] = struct.pack("@i", pid)  # last: from here on it counts

    def read(self) -> Counted:
        """What was seen since."""
        values = LAYOUT.unpack(self.memory[:])
        last, stray = (text.split(b"\0")[0].decode(errors="replace") for text in values[7:9])
        return Counted(values[4], last, values[6], stray)
