"""Who is working on a run: read from its lock file without touching the lock."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

LOCKS = Path("/proc/locks")
"""Where Linux lists the locks that are held, by inode."""


@dataclass(frozen=True)
class Holder:
    """A live command on a run."""

    command: str  # "distill"
    pid: int


def lock_holder(run: Path) -> Holder | None:
    """The command that holds the lock of the folder ``run``; None when nobody does.

    The text in the lock file outlives its command, so it counts only while its process lives and, where the system
    lists locks, while the file is locked: a process number may have been given to another program since.
    """
    path = run / ".lock"
    try:
        found = re.fullmatch(r"animus3d (\S+) \(pid (\d+)\)", path.read_text())
        inode = path.stat().st_ino
    except (OSError, ValueError):
        return None
    if found is None or not _alive(int(found[2])) or not _locked(inode):
        return None
    return Holder(command=found[1], pid=int(found[2]))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def _locked(inode: int) -> bool:
    """Whether the system lists a lock on ``inode``; True where it does not say."""
    try:
        lines = LOCKS.read_text().splitlines()
    except OSError:
        return True
    return any(f":{inode} " in line for line in lines)
