"""The disk is full, from each call on that keeps something: a write, a file or folder made, a rename, an fsync.

The command must end with exit code 7 and one line; the results that were there before must be as they were; and when
there is room again, the same command must come to the same bytes, with nothing left over. A call that the command can
do without may fail: then it ends well, with the same bytes.

The library refuses calls of the command's own process only. What a video encoder writes in another process is met by
``small_disk``: a file system of a few blocks, which takes the rights of root.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.campaigns.faults import KEEPS, Fault
from tests.campaigns.journal import Answer, Journal, summary
from tests.campaigns.program import Ended, Program
from tests.campaigns.tried import STAGES, Bases, contents, copy, differences

COUNT = None
"""Every call of every stage."""
FULL = 7
SIZES_KB = (4, 16, 48, 96, 192, 384)
"""Free kilobytes of the small disk, besides what the command finds there."""
ROOM_KB = 1 << 16


class Full:
    """The campaign's tools."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program, self.place = program, folder / "try"
        self.bases = Bases(program, folder / "bases")
        self.known: dict[str, tuple[int, dict[str, bytes]]] = {}

    def straight(self, name: str) -> tuple[int, dict[str, bytes]]:
        """How many calls a stage makes that a full disk would refuse, and its files when none is."""
        if name not in self.known:
            tried = STAGES[name]
            copy(self.bases.after(tried.before), self.place)
            ended = self.program.run(tried.line, self.place, Fault(kinds=KEEPS))
            if ended.code:
                raise RuntimeError(f"animus3d {tried.line}: exit code {ended.code}: {ended.err}")
            self.known[name] = ended.calls, contents(self.place)
        return self.known[name]

    def one(self, name: str, at: int) -> Answer:
        """The disk is full from call ``at`` of a stage on."""
        tried = STAGES[name]
        _, straight = self.straight(name)
        copy(self.bases.after(tried.before), self.place)
        before = contents(self.place)
        ended = self.program.run(tried.line, self.place, Fault("disk full", at, KEEPS))
        why = judged(ended, before, straight, self.place)
        again = self.program.run(tried.line, self.place)
        why += after(again, straight, self.place)
        return {"well": not why, "call": ended.last, "code": ended.code, **({"why": why[:5]} if why else {})}

    def on_small_disk(self, name: str, free_kb: int) -> Answer | None:
        """A stage on a file system that has ``free_kb`` left; None: no rights to make one."""
        tried = STAGES[name]
        _, straight = self.straight(name)
        copy(self.bases.after(tried.before), self.place)
        with small_disk(self.place, free_kb) as place:
            if place is None:
                return None
            before = contents(place)
            ended = self.program.run(tried.line, place)
            why = judged(ended, before, straight, place)
            resize(place, ROOM_KB)
            why += after(self.program.run(tried.line, place), straight, place)
        return {"well": not why, "code": ended.code, **({"why": why[:5]} if why else {})}


def judged(ended: Ended, before: dict[str, bytes], straight: dict[str, bytes], place: Path) -> list[str]:
    """What was not as it should be when the disk was full."""
    if ended.code == 0:
        return differences(straight, contents(place))
    why = []
    if ended.code != FULL or not ended.one_line:
        why.append(f"exit code {ended.code}: {ended.err.strip()}")
    now = contents(place)
    return why + [f"{name} was changed or lost" for name in finished(before) if now.get(name) != before[name]]


def finished(files: dict[str, bytes]) -> list[str]:
    """Names of files that are results: of stages that are complete, and all that is in no stage's folder."""
    folders = {name.rpartition("/")[0] for name in files if name.endswith("complete.json")}
    working = {name.rpartition("/")[0] for name in files if name.endswith("config.json")} - folders
    return [name for name in files if not name.startswith(tuple(f"{folder}/" for folder in working))]


def after(again: Ended, straight: dict[str, bytes], place: Path) -> list[str]:
    """What was not as it should be after the same command, with room."""
    if again.code:
        return [f"with room, exit code {again.code}: {again.err.strip()}"]
    return [f"with room, {line}" for line in differences(straight, contents(place))]


@contextmanager
def small_disk(source: Path, free_kb: int) -> Iterator[Path | None]:
    """A copy of ``source`` on a file system in memory with ``free_kb`` left; None where none can be mounted."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM_KB}k", "tmpfs", folder]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            yield None
            return
        try:
            place = Path(folder) / "try"
            copy(source, place)
            resize(place, shutil.disk_usage(folder).used // 1024 + free_kb)
            yield place
        finally:
            subprocess.run(["umount", folder], check=True)


def resize(place: Path, kilobytes: int) -> None:
    """Give the file system around ``place`` another size."""
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(place.parent)], check=True)


def run(
    journal: Journal, count: int | None, seed: int, stages: Sequence[str] = tuple(STAGES), *, small: bool = True
) -> dict[str, Any]:
    """At most ``count`` calls of each of ``stages``, spread evenly, half as many of the slow ones; the small disks
    besides."""
    answers, disks = {}, {}
    with tempfile.TemporaryDirectory() as folder, Program() as program:
        full = Full(program, Path(folder))
        for name in stages:
            calls = journal.answer(f"{name}: calls", lambda name=name: {"well": True, "calls": full.straight(name)[0]})
            number = calls["calls"]
            slow = STAGES[name].slow
            for at in chosen(number, count // 2 if count and slow else count):
                key = f"{name}: call {at} of {number}"
                answers[key] = journal.answer(key, lambda name=name, at=at: full.one(name, at))
            for kilobytes in SIZES_KB[:: 2 if slow else 1] if small else ():
                key = f"{name}: {kilobytes} kB left"
                found = journal.answer(
                    key, lambda name=name, kb=kilobytes: full.on_small_disk(name, kb) or {"well": True}
                )
                if "code" in found:
                    disks[key] = found
    codes = Counter(answer["code"] for answer in answers.values())
    whole = summary({**answers, **disks})
    return {
        **whole,
        "by_exit_code": {str(code): number for code, number in codes.items()},
        "small_disks": {
            "tries": len(disks),
            "full": sum(answer["code"] == FULL for answer in disks.values()),
        },
    }


def chosen(calls: int, count: int | None) -> list[int]:
    """Which of ``calls`` are tried, from 1 on: all, or ``count`` of them, spread evenly."""
    if count is None or count >= calls:
        return list(range(1, calls + 1))
    return sorted({1 + round(index * (calls - 1) / max(1, count - 1)) for index in range(count)})
