"""Two commands on one run, begun within milliseconds of each other.

Exactly one must work, the other end with exit code 6 and one line; then the same two commands, one after the other,
must come to the bytes of a run in which nobody met anybody, with nothing left over. Two that did not meet, because one
had ended before the other asked, are no try: they are made again.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.campaigns.journal import Answer, Journal, summary
from tests.campaigns.program import Program
from tests.campaigns.tried import DISTILL, FOX, SPLAT, STAGES, Bases, contents, copy, differences

COUNT = 100
IN_USE = 6
LONGEST_DELAY_S = 0.02
MEETINGS = 5
"""How often two are sent until they meet."""


@dataclass(frozen=True)
class Pair:
    """Two commands, and what comes before them."""

    first: str
    second: str
    before: tuple[str, ...] = ()


LONG = DISTILL.replace("--steps 6", "--steps 40").replace("preview_every=4", "preview_every=0")
"""Long enough for the other to ask meanwhile: a lock is waited for for 0.3 seconds."""
PAIRS = {
    "the same stage": Pair(LONG, LONG, (SPLAT,)),
    "two stages": Pair(LONG, STAGES["fit-lora, points"].line.replace("--steps 6", "--steps 40"), (SPLAT,)),
    "a run that is not there yet": Pair(FOX, FOX),
}


class Races:
    """The campaign's tools."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program, self.place = program, folder / "try"
        self.bases = Bases(program, folder / "bases")

    def one(self, name: str, rng: np.random.Generator) -> Answer:
        """One try."""
        pair = PAIRS[name]
        lines = [pair.first, pair.second]
        straight = contents(self.bases.after((*pair.before, *dict.fromkeys(lines))))
        for _ in range(MEETINGS):
            copy(self.bases.after(pair.before), self.place)
            ended = self.program.together(lines, self.place, delays=list(rng.uniform(0.0, LONGEST_DELAY_S, 2)))
            codes = sorted(one.code for one in ended)
            if codes != [0, 0] or "is already" not in ended[0].out + ended[1].out:
                break
        why = [] if codes == [0, IN_USE] else [f"exit codes {codes}: {' '.join(one.err.strip() for one in ended)}"]
        why += [f"not one line: {one.err}" for one in ended if one.code == IN_USE and not one.one_line]
        for line in lines:
            again = self.program.run(line, self.place)
            if again.code:
                why.append(f"afterwards, exit code {again.code}: {again.err.strip()}")
        why += differences(straight, contents(self.place))
        first = codes == [0, IN_USE] and ended[0].code == 0
        return {
            "well": not why,
            "pair": name,
            "won": "first" if first else "second",
            **({"why": why[:5]} if why else {}),
        }


def run(journal: Journal, count: int, seed: int) -> dict[str, Any]:
    """``count`` tries over the pairs in turn."""
    answers = {}
    with tempfile.TemporaryDirectory() as folder, Program() as program:
        races = Races(program, Path(folder))
        for number in range(count):
            name = list(PAIRS)[number % len(PAIRS)]
            rng = np.random.default_rng([seed, number])
            key = f"{number} {name}"
            answers[key] = journal.answer(key, lambda name=name, rng=rng: races.one(name, rng))  # type: ignore[misc]
    by_pair = Counter(answer["pair"] for answer in answers.values())
    won = Counter(answer["won"] for answer in answers.values())
    return {**summary(answers), "by_pair": dict(by_pair), "won": dict(won)}
