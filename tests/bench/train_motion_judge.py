"""Trains the judge of motions on training bodies, and says how well it names true clips.

    python -m tests.bench.train_motion_judge FOLDER                  train on all training bodies, write the weights
    python -m tests.bench.train_motion_judge FOLDER --fold K         leave out the families of a fold, say what it names
    python -m tests.bench.train_motion_judge FOLDER --held-out       what the saved weights name of the held-out bodies

FOLDER keeps the examples. Whatever is decided, is decided on folds: held-out bodies are for the last figure alone.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from stages.conventions import step_generator
from stages.geometry.trajectories import basis_of
from stages.training.point_bank import Examples, Motion, TrainingBody, rigged_example, training_bodies
from stages.training.points import learning_rate_at
from stages.zoo.bodies import BodyEntry, bodies
from stages.zoo.captions import pick, uniform
from tests.bench.motion_judge import (
    CLASSES,
    NUM_FRAMES,
    NUM_POINTS,
    STILL,
    MotionJudge,
    load_judge,
    name_motion,
    save_judge,
)
from tests.bench.record import finish

NUM_EXAMPLES, SEED = 12_000, 9
STEPS, BATCH, STEP_POINTS, LEARNING_RATE = 4500, 64, 128, 1.5e-3
PROCEDURAL_SHARE, STILL_SHARE = 0.1, 0.08
OTHER_REST_SHARE, MOMENT_SHARE = 0.15, 0.1
ENTERED_SHARE = 0.2
"""Of loops that are shown as they are entered from the rest pose."""

SMOOTH_SHARE = 0.5
"""Of the examples that are written down in functions of time, as what priors make is."""

JITTER = 0.006
"""Largest displacement of what stands still, in half sides of the box."""

WARP, STRETCH, GAIN = 0.25, 0.12, 0.25
"""Deviations of the logarithms of: the power of time, the axes of the body, the size of the motion."""

NUM_FOLDS = 3


@dataclass(frozen=True)
class JudgeBank:
    """Many examples in memory."""

    rest: Tensor  # [M, N, 3] float16
    moves: Tensor  # [M, T, N, 3] float16, from the first frame
    label: Tensor  # [M]
    body: Tensor  # [M] number of the training body; -1 of procedural ones
    loop: Tensor  # [M] whether it is a loop, which may begin at any frame

    def part(self, chosen: Tensor) -> JudgeBank:
        """The examples numbered or marked ``chosen``."""
        return JudgeBank(*(getattr(self, field.name)[chosen] for field in fields(self)))


class JudgeExamples:
    """Draws examples: classes by the square root of their bodies, families likewise."""

    def __init__(self, entries: tuple[BodyEntry, ...]) -> None:
        self.bodies = training_bodies(entries)
        self.families = [entry.family for entry in entries]
        self.procedural = Examples(())
        found: dict[str, dict[str, list[tuple[int, Motion]]]] = defaultdict(lambda: defaultdict(list))
        for number, body in enumerate(self.bodies):
            for motion in body.motions:
                if motion.verb in CLASSES:
                    found[motion.verb][self.families[number]].append((number, motion))
        self.of = {verb: dict(families) for verb, families in found.items()}
        self.verbs = sorted(self.of)
        self.shares = torch.tensor([math.sqrt(sum(map(len, self.of[verb].values()))) for verb in self.verbs])

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor, str, int, bool]:
        """Points at rest, displacements, class, number of the body, whether it is a loop."""
        if uniform(0.0, 1.0, generator) < PROCEDURAL_SHARE:
            return self._procedural(generator)
        verb = self.verbs[int(torch.multinomial(self.shares, 1, generator=generator))]
        families = list(self.of[verb].values())
        sizes = torch.tensor([math.sqrt(len(family)) for family in families])
        number, motion = pick(families[int(torch.multinomial(sizes, 1, generator=generator))], generator)
        body = self.bodies[number]
        cyclic = motion.cyclic and uniform(0.0, 1.0, generator) >= ENTERED_SHARE
        rest = _rest_of(body, motion, generator)
        moved = rigged_example(body, motion, cyclic, rest, NUM_POINTS, generator, vary=True)
        moves = moved.displacements
        if uniform(0.0, 1.0, generator) < SMOOTH_SHARE:
            moves = smoothed(moves, cyclic)
        return moved.rest, moves, verb, number, cyclic

    def _procedural(self, generator: torch.Generator) -> tuple[Tensor, Tensor, str, int, bool]:
        while True:
            example = self.procedural.draw(generator, NUM_POINTS)
            if example.verb in CLASSES:
                basis = basis_of(example.cyclic)
                moves = basis.displacements(example.coefficients, basis.times()).transpose(0, 1)
                return example.rest, moves, example.verb, -1, example.cyclic


def _rest_of(body: TrainingBody, motion: Motion, generator: torch.Generator) -> Any:
    chance = uniform(0.0, 1.0, generator)
    if chance < OTHER_REST_SHARE and len(body.rests) > 1:
        return body.rest(int(torch.randint(1, len(body.rests), (), generator=generator)))
    others = [other for other in body.motions if other.clip != motion.clip and other.verb not in ("die", "flop")]
    if chance > 1.0 - MOMENT_SHARE and others:
        other = pick(others, generator)
        return body.file.pose(other.clip, torch.tensor([uniform(0.0, 1.0, generator) * other.seconds]))
    return body.rest()


def smoothed(displacements: Tensor, cyclic: bool) -> Tensor:
    """``displacements`` [T, N, 3] as the functions of time that trajectories are written down in hold them."""
    basis = basis_of(cyclic)
    coefficients = basis.coefficients(displacements.transpose(0, 1))
    return basis.displacements(coefficients, basis.times()).transpose(0, 1)


def read_bank(folder: Path, entries: tuple[BodyEntry, ...]) -> JudgeBank:
    """The examples in ``folder``, drawn first where there are none."""
    path = folder / "judge_examples.safetensors"
    if not path.exists():
        examples = JudgeExamples(entries)
        drawn = [examples.draw(step_generator(SEED, index, stream=12)) for index in range(NUM_EXAMPLES)]
        rest, moves, verbs, numbers, loops = zip(*drawn, strict=True)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            "rest": torch.stack(rest).half(),
            "moves": torch.stack([move - move[:1] for move in moves]).half(),
            "label": torch.tensor([CLASSES.index(verb) for verb in verbs]),
            "body": torch.tensor(numbers),
            "loop": torch.tensor(loops),
        }
        save_file(tensors, path)
    return JudgeBank(**load_file(path))


def batch_of(bank: JudgeBank, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Random examples, some of them made to stand still; stretched, mirrored, of another size and pace."""
    index = torch.randint(0, len(bank.label), (size,), generator=generator)
    points = torch.randperm(NUM_POINTS, generator=generator)[:STEP_POINTS]
    rest, moves = bank.rest[index][:, points].float(), bank.moves[index][:, :, points].float()
    label = bank.label[index].clone()
    label[torch.rand(size, generator=generator) < STILL_SHARE] = CLASSES.index(STILL)
    still = (label == CLASSES.index(STILL))[:, None, None, None]
    moves = torch.stack([_begun(move, loop, generator) for move, loop in zip(moves, bank.loop[index], strict=True)])
    gain = torch.exp(GAIN * torch.randn(size, 1, 1, 1, generator=generator))
    moves = torch.where(still, jitter(moves.shape, generator), gain * moves)
    moves = moves + 0.003 * torch.rand(size, 1, 1, 1, generator=generator) * torch.randn(
        moves.shape, generator=generator
    ) * (~still)
    flip = torch.where(torch.rand(size, generator=generator) < 0.5, -1.0, 1.0)
    mirror = torch.stack([flip, torch.ones(size), torch.ones(size)], dim=1)
    mirror = mirror * torch.exp(STRETCH * torch.randn(size, 3, generator=generator))
    return rest * mirror[:, None], moves * mirror[:, None, None], label


def _begun(move: Tensor, loop: Tensor, generator: torch.Generator) -> Tensor:
    """``move`` [T, N, 3] begun at another frame where it is a loop, and faster at first or at last."""
    if loop:
        move = move.roll(int(torch.randint(0, NUM_FRAMES, (), generator=generator)), dims=0)
    power = math.exp(WARP * float(torch.randn((), generator=generator)))
    at = torch.linspace(0.0, 1.0, NUM_FRAMES) ** power * (NUM_FRAMES - 1)
    before = at.long().clamp(max=NUM_FRAMES - 2)
    share = (at - before)[:, None, None]
    return (1.0 - share) * move[before] + share * move[before + 1]


def jitter(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Displacements [B, T, N, 3] of what stands still: nothing at all, or a little noise of points or of the body."""
    batch, frames, _, _ = shape
    size = JITTER * torch.rand(batch, 1, 1, 1, generator=generator).square()
    size = size * (torch.rand(batch, 1, 1, 1, generator=generator) < 0.8)
    share = torch.rand(batch, 1, 1, 1, generator=generator)
    noise = share * torch.randn(shape, generator=generator) / 3**0.5
    body = torch.randn(batch, frames, 1, 3, generator=generator) / 3**0.5
    return size * (noise + (1.0 - share) * body)


def train(bank: JudgeBank, steps: int = STEPS) -> MotionJudge:
    """A judge of the examples."""
    torch.manual_seed(SEED)
    judge = MotionJudge()
    optimiser = torch.optim.AdamW(judge.parameters(), lr=LEARNING_RATE, weight_decay=0.05)
    started, mean = time.process_time(), 0.0
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * learning_rate_at(step / steps)
        rest, moves, label = batch_of(bank, BATCH, step_generator(SEED, step, stream=13))
        loss = F.cross_entropy(judge(rest, moves), label, label_smoothing=0.1)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(judge.parameters(), 1.0)
        optimiser.step()
        mean = 0.98 * mean + 0.02 * loss.item() if step else loss.item()
        if (step + 1) % 250 == 0:
            print(f"step {step + 1} of {steps}  loss {mean:.3f}  {time.process_time() - started:.0f} s", flush=True)
    return judge.eval().requires_grad_(False)


def true_clips(entries: tuple[BodyEntry, ...]) -> list[dict[str, Any]]:
    """Every clip of the bodies whose verb is a class, as it is: neutral rest, nothing varied; loops begin anywhere."""
    found = []
    for entry, body in zip(entries, training_bodies(entries), strict=True):
        for number, motion in enumerate(body.motions):
            if motion.verb in CLASSES:
                generator = step_generator(SEED, number, stream=14)
                moved = rigged_example(body, motion, motion.cyclic, body.rest(), NUM_POINTS, generator, vary=False)
                moves = moved.displacements
                if motion.cyclic:
                    moves = moves.roll(int(torch.randint(0, NUM_FRAMES, (), generator=generator)), dims=0)
                found.append(
                    {"body": entry.file, "family": entry.family, "group": entry.held_out, "clip": motion.clip,
                     "verb": motion.verb, "rest": moved.rest, "moves": moves}
                )  # fmt: skip
    return found


def verdicts(judge: MotionJudge, clips: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the judge says of true clips, and of the same bodies as they stand still."""
    found, seen = [], set()
    for number, clip in enumerate(clips):
        told = {key: value for key, value in clip.items() if key not in ("rest", "moves")}
        found.append(told | {"named": name_motion(judge, clip["rest"], clip["moves"])})
        if clip["body"] not in seen:
            seen.add(clip["body"])
            for step in range(4):
                shaken = jitter(clip["moves"][None].shape, step_generator(SEED, 10 * number + step, stream=15))[0]
                named = name_motion(judge, clip["rest"], shaken * (step > 0))
                found.append(told | {"clip": f"still {step}", "verb": STILL, "named": named})
    return found


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of the verdicts."""
    moving = [one for one in found if one["verb"] != STILL]
    still = [one for one in found if one["verb"] == STILL]

    def top1(of: list[dict[str, Any]]) -> float:
        return round(sum(one["named"] == one["verb"] for one in of) / max(1, len(of)), 4)

    wrong = Counter((one["verb"], one["named"]) for one in moving if one["named"] != one["verb"])
    groups = sorted({one["group"] for one in moving if one["group"]})
    return {
        "top1": top1(moving),
        "clips": len(moving),
        "still_called_moving": round(1.0 - top1(still), 4),
        "valid": top1(moving) >= 0.8 and top1(still) >= 0.9,
        "by_group": {group: top1([one for one in moving if one["group"] == group]) for group in groups},
        "by_class": {
            verb: [sum(one["named"] == verb for one in of), len(of)]
            for verb in CLASSES
            if (of := [one for one in found if one["verb"] == verb])
        },
        "confusion": {f"{true} named {named}": number for (true, named), number in wrong.most_common()},
        "wrong": [f"{one['body']} {one['clip']}: {one['verb']} named {one['named']}"
                  for one in moving if one["named"] != one["verb"]],
    }  # fmt: skip


def fold_of(entries: tuple[BodyEntry, ...], fold: int) -> list[bool]:
    """Which bodies a fold leaves out: every third family of those with less than nine bodies, whole, and every eighth
    body of the larger ones, whose clips are known then."""
    sizes = Counter(entry.family for entry in entries)
    small = sorted(family for family, size in sizes.items() if size < 9)
    new = set(small[fold::NUM_FOLDS])
    seen: Counter[str] = Counter()
    out = []
    for entry in entries:
        seen[entry.family] += 1
        known = sizes[entry.family] >= 9 and seen[entry.family] % 8 == fold
        out.append(entry.family in new or known)
    return out


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fold", type=int)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--held-out", action="store_true")
    said = parser.parse_args()
    if said.held_out:
        found = summary(verdicts(load_judge(), true_clips(bodies(held_out=True))))
        finish("motion_judge", found, "python -m tests.bench.train_motion_judge FOLDER --held-out")
        return
    entries = bodies()
    bank = read_bank(said.folder, entries)
    if said.fold is None:
        judge = train(bank, said.steps)
        save_judge(judge)
        return
    out = fold_of(entries, said.fold)
    kept = torch.tensor([*(not left for left in out), True])  # the last is -1: procedural bodies
    judge = train(bank.part(kept[bank.body]), said.steps)
    sizes = Counter(entry.family for entry in entries)
    clips = true_clips(tuple(entry for entry, left in zip(entries, out, strict=True) if left))
    for clip in clips:
        clip["group"] = "known family" if sizes[clip["family"]] >= 9 else "new family"
    for key, value in summary(verdicts(judge, clips)).items():
        print(key, value, flush=True)


if __name__ == "__main__":
    main()
