"""One flipped bit in a file of a run, of each kind that there is.

Finished runs: the command that reads the file is given. It must end with exit code 3 or 8 and one line that names the
file, or make what it makes without damage, to the byte (the file is not read, or it is made again with a caution). In
either case ``status`` must name the file.

Interrupted runs: a bit of a checkpoint, of ``config.json``, of ``metrics.jsonl``. The same command must come to the
undisturbed bytes, from the last sound checkpoint and with a caution, or end with exit code 3 or 8 and one line.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.campaigns.faults import RENAME, Fault
from tests.campaigns.journal import Answer, Journal, summary
from tests.campaigns.program import Ended, Program
from tests.campaigns.tried import (
    BONES_LINE,
    DISTILL,
    DISTILL_VIDEO,
    FOX,
    POINTS,
    RIG,
    SPLAT,
    STAGES,
    VIDEO,
    Bases,
    contents,
    copy,
    differences,
)

COUNT = 4
"""Tries a file."""
FIT_POINTS, FIT_VIDEO = STAGES["fit-lora, points"].line, f"fit-lora {VIDEO} --steps 1"
REFINE, TRACK, PHOTOS = (STAGES[name].line for name in ("refine", "track", "reconstruct photos"))
SHOW = "export --format ply-sequence --frames 2 --out seq/out.ply --run run"
STATUS = "status run --json"


@dataclass(frozen=True)
class Damage:
    """A finished place, a file in it, and the commands that are given after the file is damaged."""

    before: tuple[str, ...]
    file: str
    commands: tuple[str, ...]
    status: bool = True  # whether ``status`` must name it


POINTS_RUN = (SPLAT, DISTILL)
SCORED = f"distill --objective msd {POINTS} --steps 2 --set checkpoint_every=2 --set preview_every=0 --seconds 0.5"
FINISHED: dict[str, Damage] = {
    "run.json": Damage(POINTS_RUN, "run.json", (SPLAT, DISTILL, SHOW)),
    "asset ply": Damage(POINTS_RUN, "asset/canonical.ply", (SHOW, DISTILL, SPLAT, SHOW)),
    "asset json": Damage(POINTS_RUN, "asset/facing.json", (SHOW, DISTILL)),
    "asset png": Damage(POINTS_RUN, "asset/preview.png", (SHOW, SPLAT)),
    "config.json": Damage(POINTS_RUN, "motion/config.json", (SHOW, DISTILL)),
    "complete.json": Damage(POINTS_RUN, "motion/complete.json", (SHOW, DISTILL)),
    "metrics": Damage(POINTS_RUN, "motion/metrics.jsonl", (SHOW, DISTILL)),
    "preview mp4": Damage(POINTS_RUN, "motion/preview.mp4", (SHOW, DISTILL)),
    "motion of points": Damage(POINTS_RUN, "motion/motion.safetensors", (SHOW, DISTILL, SHOW)),
    "old checkpoint": Damage(POINTS_RUN, "motion/checkpoints/step_000006/state.safetensors", (SHOW,), status=False),
    "samples": Damage((SPLAT, STAGES["sample"].line), "samples/samples.safetensors", (f"{DISTILL} --sample 1",), False),
    "rig": Damage((FOX, RIG), "rig/weights.safetensors", (BONES_LINE, RIG, BONES_LINE)),
    "motion of bones": Damage((FOX, RIG, BONES_LINE), "motion/motion.safetensors", (SHOW, BONES_LINE, SHOW)),
    "adapter, points": Damage((SPLAT, FIT_POINTS), "lora/adapter.safetensors", (SCORED, FIT_POINTS, SCORED)),
    "adapter, video": Damage((SPLAT, FIT_VIDEO), "lora/adapter.safetensors", (DISTILL_VIDEO,)),
    "refined motion": Damage(
        (SPLAT, FIT_VIDEO, DISTILL_VIDEO, REFINE), "refined/motion.safetensors", (SHOW, REFINE, SHOW)
    ),
    "controls": Damage((FOX, RIG, BONES_LINE, TRACK), "tracked/controls.safetensors", (SHOW, TRACK)),
    "reconstruction": Damage((PHOTOS,), "reconstruction/gaussians.safetensors", (PHOTOS,)),
    "rig picture": Damage((FOX, RIG), "rig/preview.png", (RIG,)),
    "field": Damage((SPLAT, FIT_VIDEO, DISTILL_VIDEO), "motion/motion.safetensors", (REFINE, DISTILL_VIDEO, REFINE)),
}


@dataclass(frozen=True)
class Interrupted:
    """A stage that is killed at the rename of its ``checkpoint``, and a file that is damaged then."""

    before: tuple[str, ...]
    line: str
    file: str  # "*": the last checkpoint's


INTERRUPTED: dict[str, Interrupted] = {
    "checkpoint tensors": Interrupted((SPLAT,), DISTILL, "motion/checkpoints/*/state.safetensors"),
    "checkpoint json": Interrupted((SPLAT,), DISTILL, "motion/checkpoints/*/state.json"),
    "its settings": Interrupted((SPLAT,), DISTILL, "motion/config.json"),
    "its metrics": Interrupted((SPLAT,), DISTILL, "motion/metrics.jsonl"),
    "checkpoint of an adapter": Interrupted((SPLAT,), FIT_POINTS, "lora/checkpoints/*/state.safetensors"),
}


def flip(path: Path, rng: np.random.Generator) -> str:
    """Another bit at a random place of ``path``; which one."""
    content = bytearray(path.read_bytes())
    at, bit = int(rng.integers(len(content))), int(rng.integers(8))
    content[at] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {at} of {len(content)}"


class Flips:
    """The campaign's tools."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program, self.place = program, folder / "try"
        self.bases = Bases(program, folder / "bases")
        self.known: dict[tuple[tuple[str, ...], tuple[str, ...]], dict[str, bytes]] = {}

    def straight(self, before: tuple[str, ...], *lines: str) -> dict[str, bytes]:
        """What ``lines``, one after the other, leave without damage."""
        if (before, lines) not in self.known:
            self.known[before, lines] = contents(self.bases.after((*before, *lines)))
        return self.known[before, lines]

    def finished(self, damage: Damage, rng: np.random.Generator) -> Answer:
        """A bit of a file of a finished run."""
        copy(self.bases.after(damage.before), self.place)
        file = self.place / "run" / damage.file
        whole = file.read_bytes()
        where = flip(file, rng)
        if harmless(file, whole):
            return {"well": True, "at": where, "codes": [], "mended": False, "harmless": True}
        why, seen = [], []
        told = self.program.run(STATUS, self.place)
        if damage.status and (told.code not in (0, 3, 8) or file.name not in told.out + told.err):
            why.append(f"status does not name {damage.file}: exit code {told.code}, {told.err.strip()}")
        name, flipped = f"run/{damage.file}", file.read_bytes()
        worked: list[str] = []  # a command that is refused leaves nothing
        for line in damage.commands:
            ended, command = self.program.run(line, self.place), line.split()[0]
            seen.append(ended.code)
            why += judged(ended, file.name, command)
            worked += [line] if ended.code == 0 else []
            straight, now = self.straight(damage.before, *worked), contents(self.place)
            if file.exists() and file.read_bytes() == flipped:  # nothing that was asked for makes it again
                now[name] = straight[name]
            why += [f"{command}: {text}" for text in differences(straight, now)]
        mended = file.exists() and file.read_bytes() != flipped
        return {"well": not why, "at": where, "codes": seen, "mended": mended, **({"why": why[:5]} if why else {})}

    def interrupted(self, damage: Interrupted, rng: np.random.Generator) -> Answer:
        """A bit of a file of a stage that was killed after its last checkpoint."""
        straight = self.straight(damage.before, damage.line)
        copy(self.bases.after(damage.before), self.place)
        renames = 0
        while True:  # the rename of the last checkpoint
            renames += 1
            copy(self.bases.after(damage.before), self.place)
            ended = self.program.run(damage.line, self.place, Fault("kill after", renames, RENAME))
            if not ended.killed:
                return {"well": False, "why": ["it was not killed at its last checkpoint"]}
            if "step_000006" in ended.last:
                break
        file = sorted(self.place.glob(f"run/{damage.file}"))[-1]
        whole = file.read_bytes()
        where = flip(file, rng)
        if harmless(file, whole):
            return {"well": True, "at": where, "codes": [], "mended": False, "harmless": True}
        again = self.program.run(damage.line, self.place)
        why = judged(again, file.name, damage.line.split()[0], file.parent.name)
        if again.code == 0:
            lost = ("run/motion/metrics.jsonl", "run/motion/complete.json") if file.name == "metrics.jsonl" else ()
            why += [text for text in differences(straight, contents(self.place)) if not text.startswith(lost or "/")]
            if "damaged" not in again.out + again.err:
                why.append("no caution")
        answer = {"well": not why, "at": where, "codes": [again.code], "mended": again.code == 0}
        return {**answer, **({"why": why[:5]} if why else {})}


def harmless(file: Path, whole: bytes) -> bool:
    """Whether a JSON file says the same as before: the bit was in the name of its seal."""
    if file.suffix != ".json":
        return False
    try:
        now = json.loads(file.read_bytes())
    except ValueError:
        return False
    before = json.loads(whole)
    return "seal" not in now and all(now.get(key) == value for key, value in before.items() if key != "seal")


def judged(ended: Ended, *names: str) -> list[str]:
    """What is wrong about how a command ended: the first of ``names`` or the last must be in what it says."""
    name, command, *more = names
    if ended.code == 0:
        return []
    if ended.code not in (3, 8) or not ended.one_line:
        return [f"{command}: exit code {ended.code}: {ended.err.strip()}"]
    return [] if any(text in ended.err for text in (name, *more)) else [f"{command} does not name {name}: {ended.err}"]


def run(journal: Journal, count: int, seed: int, files: Sequence[str] = (*FINISHED, *INTERRUPTED)) -> dict[str, Any]:
    """``count`` bits of each of ``files``."""
    answers = {}
    with tempfile.TemporaryDirectory() as folder, Program() as program:
        flips = Flips(program, Path(folder))
        for name in files:
            for number in range(count):
                rng = np.random.default_rng([seed, number])
                key = f"{name} {number}"
                answers[key] = journal.answer(key, lambda name=name, rng=rng: one(flips, name, rng))  # type: ignore[misc]
    named = Counter(str(code) for answer in answers.values() for code in answer["codes"])
    mended = sum(answer["mended"] for answer in answers.values())
    return {**summary(answers), "files": len(files), "commands_by_exit_code": dict(named), "mended": mended}


def one(flips: Flips, name: str, rng: np.random.Generator) -> Answer:
    """A try about the file called ``name``."""
    return flips.finished(FINISHED[name], rng) if name in FINISHED else flips.interrupted(INTERRUPTED[name], rng)
