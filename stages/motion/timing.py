"""How long a motion lasts, and how often a loop is played in that time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SHORTEST, LONGEST = 0.1, 120.0
"""Seconds that a motion may last."""

USUAL_SECONDS = 2.0
"""Of a motion whose length is not known. [ours]"""

JOINED_CYCLES = 2
"""Of a loop that is followed, or preceded, by another motion, unless the seconds say otherwise. [ours]"""


@dataclass(frozen=True)
class Timing:
    """Of a motion as a whole."""

    seconds: float
    cycles: int = 1  # of a loop in them

    def metadata(self) -> dict[str, str]:
        """As it stands in a result."""
        return {"seconds": f"{self.seconds:.6g}", "cycles": str(self.cycles)}

    @staticmethod
    def of(metadata: Mapping[str, str]) -> Timing | None:
        """What a result says; None where it does not."""
        if "seconds" not in metadata:
            return None
        return Timing(float(metadata["seconds"]), int(metadata.get("cycles", "1")))


def timing(natural: float, *, cyclic: bool, wanted: float | None = None) -> Timing:
    """That of a motion which takes ``natural`` seconds by itself and is to last ``wanted``: a loop is played as often
    as comes nearest to its own pace."""
    if wanted is None:
        return Timing(natural)
    return Timing(wanted, max(1, round(wanted / natural)) if cyclic else 1)


def timings(natural: list[float], cyclic: list[bool], wanted: float | None = None) -> list[Timing]:
    """Those of motions that follow one another and are to last ``wanted`` seconds together."""
    rounds = [JOINED_CYCLES if loop else 1 for loop in cyclic]
    total = sum(length * count for length, count in zip(natural, rounds, strict=True))
    factor = 1.0 if wanted is None else wanted / total
    found = []
    for length, count, loop in zip(natural, rounds, cyclic, strict=True):
        found.append(timing(length, cyclic=loop, wanted=factor * length * count))
    return found
