"""Commands that have little memory left: RLIMIT_DATA, so many megabytes above what the process has when it starts.

A command must either work, with the bytes that it always makes, or say in one line before its first step what it needs
and what would fit (exit 9), and leave everything as it was; what it said must work then, with no more memory. "late"
counts commands that began and ran out of memory: told in one line too, but their estimate was too low.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from stages.assets import asset_path
from tests.bench.bench_needs import grown
from tests.campaigns.journal import Answer, Journal, summary
from tests.campaigns.program import Program
from tests.campaigns.tried import STAGES, Bases, Tried, contents, copy, differences

COUNT = None
ROOMS_MB = (30, 60, 100, 150, 200, 300, 450, 700, 1100)
NOT_AVAILABLE = 9
LARGE = "reconstruct large.ply --run run"
WALKS = "distill --prompt walk --prior points --steps 2 --set preview_every=0 --seconds 0.5 --run run"
LARGE_ONES = {
    "reconstruct 60,000 Gaussians": Tried(LARGE),
    "sample 60,000 Gaussians": Tried("sample --prompt walk --prior points --count 1 --run run", (LARGE,)),
    "distill 60,000 Gaussians": Tried(WALKS, (LARGE,)),
    "distill all 60,000 Gaussians": Tried(f"{WALKS} --set max_gaussians=60000", (LARGE,)),
    "render 40 frames of 512 pixels": Tried(
        "render --frames 40 --size 512 out.mp4 --run run", (*STAGES["render"].before,)
    ),
}
"""What is large enough to be made smaller."""
FITS = re.compile(r"It fits with (--\S+ \S+?)(?: or |\.$)")
BEFORE = "needs about"
"""What is said before the first step."""


class Rooms:
    """The campaign's tools."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program, self.place = program, folder / "try"
        self.bases = Bases(program, folder / "bases")
        self.straight: dict[str, dict[str, bytes]] = {}
        write_large(self.bases.after(()) / "large.ply")

    def one(self, name: str, room_mb: int) -> Answer:
        """One try."""
        tried = (STAGES | LARGE_ONES)[name]
        copy(self.bases.after(tried.before), self.place)
        before = contents(self.place)
        limit = self.data_bytes() + room_mb * 10**6
        ended = self.program.run(tried.line, self.place, data_bytes=limit)
        if ended.code == 0:
            why = differences(self.files(name), contents(self.place)) if name in STAGES else []
            return {"well": not why, "ended": "worked", **({"why": why[:5]} if why else {})}
        why = [] if ended.code == NOT_AVAILABLE else [f"exit code {ended.code}"]
        why += [] if ended.one_line else ["not one line"]
        told = "before" if BEFORE in ended.err else "late"
        if told == "before":
            # a run that begins from another has what that has by then
            why += [line for line in differences(before, contents(self.place)) if not line.startswith("new/")]
        fits = FITS.search(ended.err.strip())
        if fits:
            again = self.program.run(f"{tried.line} {fits.group(1)}", self.place, data_bytes=limit)
            why += [f"{fits.group(1)}: exit code {again.code}: {again.err.strip()}"] if again.code else []
        said = {"said": ended.err.strip()[-300:]} if why or told == "late" else {}
        return {
            "well": not why,
            "ended": told,
            "fits": fits.group(1) if fits else "",
            **said,
            **({"why": why[:5]} if why else {}),
        }

    def files(self, name: str) -> dict[str, bytes]:
        """What the command makes with all the memory there is."""
        if name not in self.straight:
            tried, place = STAGES[name], self.place.with_name("straight")
            copy(self.bases.after(tried.before), place)
            self.program.must(tried.line, place)
            self.straight[name] = contents(place)
        return self.straight[name]

    def data_bytes(self) -> int:
        """Private data of the server, and so of a child that it forks."""
        status = Path(f"/proc/{self.program.process.pid}/status").read_text()
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmData:")))


def write_large(path: Path) -> None:
    """A splat of 60,000 Gaussians."""
    from stages.gaussians.formats.ply import read_ply, write_ply

    write_ply(path, grown(read_ply(asset_path("splats", "deer.ply")), 60_000, 0))


def run(journal: Journal, count: int | None, seed: int) -> dict[str, Any]:
    """Every command with every room, or the first ``count`` of them."""
    tries = [(name, room) for room in ROOMS_MB for name in STAGES | LARGE_ONES]
    answers = {}
    with tempfile.TemporaryDirectory() as folder, Program() as program:
        rooms = Rooms(program, Path(folder))
        for name, room in tries[:count]:
            key = f"{name}, {room} MB"
            answers[key] = journal.answer(key, lambda name=name, room=room: rooms.one(name, room))  # type: ignore[misc]
    ended = Counter(answer["ended"] for answer in answers.values())
    smaller = sum(bool(answer.get("fits")) for answer in answers.values())
    return {**summary(answers), "ended": dict(ended), "tried again as was said": smaller}
