"""kill -9, anywhere: at a random moment, or just before, after or in the middle of a write, a rename, an fsync.

Then the same command again, which may be killed once more; in the end every file of the place must be the same as
without, to the byte, times aside, and none may be left over.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.campaigns.faults import EVERY, RENAME, SYNC, Fault
from tests.campaigns.journal import Answer, Journal, summary
from tests.campaigns.program import Program
from tests.campaigns.tried import STAGES, Bases, Tried, contents, copy, differences

COUNT = 200
WAYS = ("any call", "rename", "fsync", "moment")
"""What the kill is aimed at."""
KINDS = {"any call": EVERY, "rename": RENAME, "fsync": SYNC, "moment": EVERY}
ACTIONS = ("kill before", "kill after", "kill halfway")
AGAIN = 0.3
"""Share of tries in which the second command is killed, too."""

BEGINNINGS = 5
"""How often a try begins anew where the command came to its end before the moment of its kill."""


class Straight:
    """What a stage does without interruption: its files, its seconds, its calls of each kind."""

    def __init__(self, program: Program, bases: Bases, tried: Tried, place: Path) -> None:
        self.calls, self.seconds = {}, 0.0
        for kinds in (EVERY, RENAME, SYNC):
            copy(bases.after(tried.before), place)
            ended = program.run(tried.line, place, Fault(kinds=kinds))
            if ended.code:
                raise RuntimeError(f"animus3d {tried.line}: exit code {ended.code}: {ended.err}")
            self.calls[kinds], self.seconds = ended.calls, ended.seconds
        self.files = contents(place)


class Kills:
    """The campaign's tools, made when they are first needed."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program, self.place = program, folder / "try"
        self.bases = Bases(program, folder / "bases")
        self.known: dict[str, Straight] = {}

    def straight(self, name: str) -> Straight:
        """What stage ``name`` does without interruption."""
        if name not in self.known:
            self.known[name] = Straight(self.program, self.bases, STAGES[name], self.place)
        return self.known[name]

    def one(self, name: str, way: str, rng: np.random.Generator) -> Answer:
        """One try."""
        tried, straight = STAGES[name], self.straight(name)
        killed: list[str] = []
        for _ in range(BEGINNINGS):
            copy(self.bases.after(tried.before), self.place)
            for _ in range(2 if rng.random() < AGAIN else 1):
                how = self.kill(tried, straight, way, rng)
                if how is None:
                    break
                killed.append(how)
            if killed:
                break
        said = self.program.run(tried.line, self.place)
        wrong = differences(straight.files, contents(self.place))
        why = wrong if said.code == 0 else [f"exit code {said.code}: {said.err.strip()}"]
        if not killed:
            why = ["it was not killed"]
        return {"well": not why, "stage": name, "way": way, "killed": killed, **({"why": why[:5]} if why else {})}

    def kill(self, tried: Tried, straight: Straight, way: str, rng: np.random.Generator) -> str | None:
        """Run the command and kill it; where that was, or None: it came to its end before."""
        kinds, action = KINDS[way], ACTIONS[int(rng.integers(3))]
        calls, seconds = straight.calls[kinds], straight.seconds
        for _ in range(4):
            if way == "moment":
                after = seconds * rng.random()
                ended = self.program.run(tried.line, self.place, kill_after=after)
                how = f"after {after:.2f} s"
            else:
                at = int(rng.integers(1, calls + 1))
                ended = self.program.run(tried.line, self.place, Fault(action, at, kinds))
                how = f"{action} call {at}, {ended.last}"
            if ended.killed:
                return how
            if ended.code:
                return f"exit code {ended.code}: {ended.err.strip()}"
            calls, seconds = max(1, calls // 2), seconds / 2  # there was less left to do
            if "done" in ended.out or "nothing to do" in ended.out:
                return None
        return None


def run(journal: Journal, count: int, seed: int, stages: Sequence[str] = tuple(STAGES)) -> dict[str, Any]:
    """``count`` tries over ``stages`` in turn."""
    answers = {}
    with tempfile.TemporaryDirectory() as folder, Program() as program:
        kills = Kills(program, Path(folder))
        for number in range(count):
            rng = np.random.default_rng([seed, number])
            name, way = stages[number % len(stages)], WAYS[int(rng.integers(len(WAYS)))]
            key = f"{number} {name}"
            answers[key] = journal.answer(key, lambda name=name, way=way, rng=rng: kills.one(name, way, rng))  # type: ignore[misc]
    by_stage = Counter(answer["stage"] for answer in answers.values())
    by_way = Counter(answer["way"] for answer in answers.values())
    kills_made = sum(len(answer["killed"]) for answer in answers.values())
    return {**summary(answers), "kills": kills_made, "by_stage": dict(by_stage), "by_way": dict(by_way)}
