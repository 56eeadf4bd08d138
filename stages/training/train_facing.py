"""Train the network that finds where a body faces.

    python -m stages.training.train_facing --out assets/facing

1. Draw a bank of bodies that face +z (``stages.training.facing_bank``); a training step turns, bends and jitters them.
2. Train with a part of the families held out: how sure the network may be of bodies that it has not seen.
3. Train on all of them, and write the weights with the temperature found in 2.
"""

from __future__ import annotations

import argparse
import copy
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stages.conventions import step_generator
from stages.events import Event, Finished, Note, Progress, Report, Started
from stages.priors.facing import (
    NEAR_DEG,
    NUM_DIRECTIONS,
    FacingNetwork,
    centred,
    direction_logits,
    facing_of,
    save,
    turn_about_y,
)
from stages.settings import check
from stages.training.facing_bank import POINTS, FacingBank, draw_bank
from stages.training.points import learning_rate_at
from stages.zoo.bodies import bodies


@dataclass(frozen=True, kw_only=True)
class TrainFacingConfig:
    """Settings of the training. All [ours]."""

    networks: int = 3  # of which each sees other draws
    steps: int = 3000  # of each
    fold_steps: int = 1500  # of each, where families are held out
    folds: int = 5  # parts that the families are cut into
    folds_tried: int = 1  # of them, each held out in a training of its own
    seed: int = 0
    num_examples: int = 10_000
    batch_size: int = 64
    num_points: int = 128  # of each body that a step sees
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    ema_decay: float = 0.995
    width: int = 64

    def __post_init__(self) -> None:
        check(
            self, networks=1, steps=1, fold_steps=1, folds=2, folds_tried=1, num_examples=1, batch_size=1, num_points=1
        )


def run(out: Path, config: TrainFacingConfig, report: Report) -> None:
    """Train into ``out``. Raises ``BadInput`` outside a checkout of the project, which alone carries the bodies."""
    started = time.monotonic()
    entries = bodies()
    bank = draw_bank(entries, config.num_examples, config.seed, report)
    judged, right = [], []
    for logits, truth in held_out_in_turn(bank, config, report):
        judged.append(logits)
        right.append(truth)
    temperature = best_temperature(torch.cat(judged), torch.cat(right))
    share = share_right(torch.cat(judged), torch.cat(right), temperature)
    report(Note(f"Of families that were held out {100.0 * share:.1f} % are right; temperature {temperature:.2f}."))
    networks = train(bank, config, config.steps, report)
    minutes = (time.monotonic() - started) / 60.0
    about = {"right_of_held_out_families": round(share, 3), "bodies": len(entries), "steps": config.steps}
    save(out, networks, temperature, about)
    report(Note(f"Wrote {out} after {minutes:.1f} minutes."))


def train(bank: FacingBank, config: TrainFacingConfig, steps: int, report: Report) -> list[FacingNetwork]:
    """Networks trained on ``bank``."""
    return [train_one(bank, config, steps, config.seed + number, report) for number in range(config.networks)]


def train_one(bank: FacingBank, config: TrainFacingConfig, steps: int, seed: int, report: Report) -> FacingNetwork:
    """A network trained on ``bank``: the moving average of its weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FacingNetwork(config.width)
    average = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    report(Started("train-facing", steps))
    running = math.log(NUM_DIRECTIONS)
    for step in range(steps):
        points, target = draw_batch(bank, config, step_generator(seed, step, stream=22))
        loss = torch.nn.functional.cross_entropy(network(points), target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * learning_rate_at(step / steps)
        optimiser.step()
        decay = min(config.ema_decay, (step + 1) / (10.0 + step))
        with torch.no_grad():
            for mean, parameter in zip(average.parameters(), network.parameters(), strict=True):
                mean.lerp_(parameter, 1.0 - decay)
        running += 0.02 * (loss.item() - running)
        if (step + 1) % 50 == 0:
            report(Progress(step + 1, {"loss": running}))
    report(Finished("train-facing"))
    return average.eval().requires_grad_(False)


def draw_batch(bank: FacingBank, config: TrainFacingConfig, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points [B, N, 3] of bodies that were changed and turned, and what is right [B, NUM_DIRECTIONS + 1], which sums
    to 1."""
    size = config.batch_size
    index = torch.randint(0, len(bank.front), (size,), generator=generator)
    how = torch.randint(0, 2, (size,), generator=generator)
    subset = torch.randperm(POINTS, generator=generator)[: config.num_points]
    points = changed(centred(bank.points[index, how][:, subset].float()), generator)
    degrees = 360.0 * torch.rand(size, generator=generator)
    turn = torch.stack([turn_about_y(angle) for angle in degrees.tolist()])
    points = centred(points @ turn.transpose(1, 2))
    fronts = 360.0 / NUM_DIRECTIONS * torch.arange(NUM_DIRECTIONS)
    away = torch.deg2rad(fronts - degrees[:, None])
    target = (SHARPNESS * (away.cos() - 1.0)).exp()
    target = target / target.sum(dim=1, keepdim=True) * bank.front[index].float()[:, None]
    return points, torch.cat([target, 1.0 - target.sum(dim=1, keepdim=True)], dim=1)


SHARPNESS = 14.0
"""Of the directions that count as right: a von Mises distribution of about 15 degrees."""

JITTER, TILT_DEG, SQUEEZE, BEND, CUT = 0.02, 5.0, 0.12, 0.07, 0.1
"""Largest deviation of jitter; deviations of the angle of a tilt, of the logarithms of the axes, of a smooth bending;
the share of bodies that lack what is beyond a plane. [ours]"""


def changed(points: Tensor, generator: torch.Generator) -> Tensor:
    """``points`` [B, N, 3] of bodies that face +z, bent, squeezed, tilted, cut and jittered."""
    size = len(points)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    waves, phase = 2.5 * normal(size, 3, 4), 2.0 * math.pi * torch.rand(size, 1, 4, generator=generator)
    points = points + BEND * torch.sin(points @ waves + phase) @ normal(size, 4, 3)
    points = points * torch.exp(SQUEEZE * normal(size, 1, 3))
    tilt = math.radians(TILT_DEG) * normal(size, 2)
    lean = torch.eye(3).repeat(size, 1, 1)
    lean[:, 0, 1], lean[:, 1, 0], lean[:, 2, 1], lean[:, 1, 2] = tilt[:, 0], -tilt[:, 0], tilt[:, 1], -tilt[:, 1]
    points = points @ lean
    side = torch.nn.functional.normalize(normal(size, 3, 1), dim=1)
    beyond = (points @ side)[..., 0]
    limit = beyond.quantile(1.0 - CUT * torch.rand(1, generator=generator)[0], dim=1, keepdim=True)
    lost = (beyond > limit) & (torch.rand(size, 1, generator=generator) < CUT)
    kept = beyond.argmin(dim=1)  # what was lost becomes a point that is there
    points = torch.where(lost[..., None], points[torch.arange(size), kept][:, None], points)
    return points + JITTER * torch.rand(size, 1, 1, generator=generator) * normal(*points.shape)


def held_out_in_turn(bank: FacingBank, config: TrainFacingConfig, report: Report) -> Sequence[tuple[Tensor, Tensor]]:
    """Logits [M, directions + 1] of bodies of families that were held out, and where they face [M]; NaN: nowhere."""
    number = int(bank.family.max()) + 1
    order = list(range(number))
    random.Random(config.seed).shuffle(order)
    found = []
    for fold in range(config.folds_tried):
        out = torch.isin(bank.family, torch.tensor(order[fold :: config.folds]))
        networks = train(bank.select((~out).nonzero()[:, 0]), config, config.fold_steps, report)
        found.append(judge(networks, bank.select(out.nonzero()[:, 0]), step_generator(config.seed, fold, stream=23)))
    return found


def judge(
    networks: Sequence[FacingNetwork], bank: FacingBank, generator: torch.Generator, most: int = 300
) -> tuple[Tensor, Tensor]:
    """Logits of bodies at random yaws, and where they face."""
    logits, truth = [], []
    for index in range(min(most, len(bank.front))):
        degrees = 360.0 * float(torch.rand((), generator=generator)) - 180.0
        points = bank.points[index].float() @ turn_about_y(degrees).T
        logits.append(direction_logits(networks, points))
        truth.append(degrees if bank.front[index] else math.nan)
    return torch.stack(logits), torch.tensor(truth)


def share_right(logits: Tensor, truth: Tensor, temperature: float = 1.0) -> float:
    """Of those that have a front, how many are found within ``NEAR_DEG``."""
    right = [is_right(one, where, temperature) for one, where in zip(logits, truth.tolist(), strict=True)]
    return sum(one for one in right if one is not None) / max(1, sum(one is not None for one in right))


def is_right(logits: Tensor, degrees: float, temperature: float) -> bool | None:
    """Whether what faces ``degrees`` is found; None where it has no front."""
    if math.isnan(degrees):
        return None
    found = facing_of(logits, temperature).degrees
    return found is not None and math.cos(math.radians(found - degrees)) >= math.cos(math.radians(NEAR_DEG))


def best_temperature(logits: Tensor, truth: Tensor) -> float:
    """The temperature at which the confidence is most likely right: least logarithmic loss of "within 30 degrees"."""
    tried = [1.15**power for power in range(-4, 16)]
    return min(tried, key=lambda temperature: _confidence_loss(logits, truth, temperature))


def _confidence_loss(logits: Tensor, truth: Tensor, temperature: float) -> float:
    total, count = 0.0, 0
    for one, degrees in zip(logits, truth.tolist(), strict=True):
        right = is_right(one, degrees, temperature)
        if right is None:
            right = facing_of(one, temperature).degrees is None
        sure = facing_of(one, temperature).confidence or 0.0
        total -= math.log(max(sure if right else 1.0 - sure, 1e-4))
        count += 1
    return total / max(1, count)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the network that finds where a body faces.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=TrainFacingConfig.steps)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    run(given.out, TrainFacingConfig(steps=given.steps, seed=given.seed), _printed())


def _printed() -> Callable[[Event], None]:
    def report(event: Event) -> None:
        if isinstance(event, Note):
            print(event.text, flush=True)
        elif isinstance(event, Progress) and event.step % 100 == 0:
            print(event.step, *(f"{name} {value:.3f}" for name, value in event.metrics.items()), file=sys.stderr)

    return report


if __name__ == "__main__":
    main()
