"""One command on a run at a time, on every system and on shared disks.

Two files. ``.lock`` carries the operating system's lock (``filelock``: flock on Linux and macOS, msvcrt on Windows),
which ends with its process, however that ends. ``.lock.json`` says who holds it: host, process, command and since when.
On a disk that several machines share the system's lock may or may not reach the others (NFS passes flock on to its
server, some mounts keep it local), so the second file is a claim too: it is made only where there is none, and what it
says of another host is believed. A file system without locks gets a lock that is a file (``SoftFileLock``); one that a
killed process of this host has left is taken over.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from stages.errors import CorruptCheckpoint, RunLocked
from stages.events import Note, Report
from stages.files import alive, part_of, read_json, to_disk, writing

PATIENCE_S = 0.3
"""How long a lock is tried for: somebody may just be looking whether it is held."""

NO_LOCKS = {getattr(errno, name, None) for name in ("ENOLCK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP")} - {None}
"""What a file system answers that knows no locks, or whose server of locks is away; filelock passes on all but ENOSYS,
which it or an older one of it turns into a lock that is a file, or ``NotImplementedError``."""


@dataclass(frozen=True)
class Holder:
    """A command on a run."""

    command: str  # "distill"
    pid: int
    host: str
    started: float  # seconds since 1970

    @property
    def here(self) -> bool:
        """Whether it is, or was, on this machine."""
        return self.host == socket.gethostname()

    @property
    def age(self) -> str:
        """Since when, in words."""
        seconds = max(0.0, time.time() - self.started)
        for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
            if seconds >= 2.0 * size:
                return f"{seconds / size:.0f} {unit}"
        return f"{seconds:.0f} seconds"


@contextmanager
def hold(run: Path, command: str, report: Report) -> Iterator[None]:
    """Hold the lock of the folder ``run``. Raises ``RunLocked``, ``CannotWrite``."""
    with writing(run / ".lock"):
        lock = _acquired(run)
    try:
        there = _beside(run).exists()  # asked first: what comes later is another host's claim, and stays
        left = read_holder(run)
        if left is not None and not left.here:
            raise _in_use(run, left)
        if left is not None:
            report(Note(f"{run} was left by animus3d {left.command} (pid {left.pid}), which is gone; taking over."))
        if there:
            with writing(_beside(run)):
                _beside(run).unlink(missing_ok=True)
        if not _claimed(run, Holder(command, os.getpid(), socket.gethostname(), time.time())):
            raise _in_use(run, read_holder(run))
        try:
            yield
        finally:
            _beside(run).unlink(missing_ok=True)
    finally:
        lock.release()


def lock_holder(run: Path) -> Holder | None:
    """The command that holds the lock of the folder ``run``; None when nobody does. Of another host what it says is
    believed."""
    holder = read_holder(run)
    if holder is None or not holder.here:
        return holder
    if not alive(holder.pid):
        return None
    lock = FileLock(run / ".lock")
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError, NotImplementedError):
        return holder
    lock.release()  # the process number has been given to another program since
    return None


def forget_holder(run: Path) -> None:
    """Remove the claim that a command of another host has left, which is known to have died."""
    holder = read_holder(run)
    if holder is not None and not holder.here:
        _beside(run).unlink(missing_ok=True)


def read_holder(run: Path) -> Holder | None:
    """What ``.lock.json`` says; None where there is none, or not a whole one."""
    try:
        found = read_json(_beside(run))
        return None if found is None else Holder(**found)
    except (CorruptCheckpoint, TypeError):
        return None


def _acquired(run: Path) -> BaseFileLock:
    """The lock, held. Raises ``RunLocked``."""
    lock: BaseFileLock = FileLock(run / ".lock")
    try:
        lock.acquire(timeout=PATIENCE_S)
        return lock
    except Timeout:
        raise _in_use(run, read_holder(run)) from None
    except NotImplementedError:
        pass
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    lock = SoftFileLock(run / ".lock.soft")
    left = read_holder(run)
    if left is not None and left.here and not alive(left.pid):
        (run / ".lock.soft").unlink(missing_ok=True)
    try:
        lock.acquire(timeout=PATIENCE_S)
    except Timeout:
        raise _in_use(run, read_holder(run)) from None
    return lock


def _claimed(run: Path, holder: Holder) -> bool:
    """Write ``.lock.json``, whole from the first instant; False where another host has written its own in between."""
    with writing(_beside(run)):
        temporary = part_of(_beside(run))
        try:
            temporary.write_text(json.dumps(asdict(holder)) + "\n", encoding="utf-8")
            to_disk(temporary)
            try:
                os.link(temporary, _beside(run))
            except FileExistsError:
                return False
            except (OSError, NotImplementedError):  # no hard links here
                try:
                    with _beside(run).open("x", encoding="utf-8") as file:
                        file.write(temporary.read_text(encoding="utf-8"))
                except FileExistsError:
                    return False
            return True
        finally:
            temporary.unlink(missing_ok=True)


def _in_use(run: Path, holder: Holder | None) -> RunLocked:
    if holder is None:
        return RunLocked(f"{run} is in use by another process.", "Wait for it, or choose another --run.")
    who = f"animus3d {holder.command} (pid {holder.pid})"
    if holder.here:
        return RunLocked(f"{run} is in use by {who}.", "Wait for it, or choose another --run.")
    return RunLocked(
        f"{run} is in use by {who} on {holder.host} for {holder.age}.",
        f"Wait for it, or, if it has died there, remove {_beside(run)}.",
    )


def _beside(run: Path) -> Path:
    return run / ".lock.json"
