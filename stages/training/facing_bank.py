"""Points of bodies at rest that face +z, and of things without a front: what ``stages.priors.facing`` learns from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.conventions import step_generator
from stages.events import Finished, Progress, Report, Started
from stages.skeletons.skeleton import Pose
from stages.training.point_bank import TrainingBody, training_bodies
from stages.zoo.bodies import BodyEntry
from stages.zoo.captions import pick, uniform
from stages.zoo.clips import BUILDERS
from stages.zoo.trajectories import Variation

POINTS = 256
DRAWN = 1536
"""Points of a body of which ``POINTS`` are taken: the farthest from each other, and others at random."""

PROCEDURAL_SHARE, PLAIN_SHARE = 0.25, 0.05
"""How often a body is procedural; how often it is a thing without a front that is made here."""

OTHER_REST_SHARE, MOMENT_SHARE = 0.2, 0.35
"""How often a rigged body rests in another of its poses; stands in a moment of a clip."""

BONES, STRETCH = 0.25, 0.15
FRONTLESS = ("plant", "flag")
"""Of procedural bodies."""

TURNING = ("die", "flop", "spin", "turn", "dance", "lie", "fall", "dodge", "get up")
"""Verbs in whose clips a body may face anywhere."""


@dataclass(frozen=True)
class FacingBank:
    """Many bodies that face +z."""

    points: Tensor  # [M, 2, POINTS, 3] float16: spread evenly, and at random
    front: Tensor  # [M] whether it has one
    family: Tensor  # [M] number of its family; -1: made, in every training

    def select(self, index: Tensor) -> FacingBank:
        """Some of them."""
        return FacingBank(self.points[index], self.front[index], self.family[index])


def draw_bank(entries: Sequence[BodyEntry], count: int, seed: int, report: Report) -> FacingBank:
    """``count`` of them, always the same."""
    bodies = training_bodies(entries)
    families = sorted({entry.family for entry in entries})
    number = {entry.file: families.index(entry.family) for entry in entries}
    fronts = {entry.file: entry.facing is not None for entry in entries}
    kinds = Counter(body.kind for body in bodies)
    by_kind = {kind: [body for body in bodies if body.kind == kind] for kind in sorted(kinds)}
    shares = torch.tensor([math.sqrt(len(of)) for of in by_kind.values()])
    pools, front, family = [], [], []
    report(Started("bodies", count))
    for index in range(count):
        generator = step_generator(seed, index, stream=21)
        chance = uniform(0.0, 1.0, generator)
        if chance < PLAIN_SHARE:
            points, has_front, own = plain_thing(generator), False, -1
        elif chance < PLAIN_SHARE + PROCEDURAL_SHARE:
            kind = pick(list(BUILDERS), generator)
            points, has_front, own = procedural(kind, generator), kind not in FRONTLESS, -1
        else:
            kind = list(by_kind)[int(torch.multinomial(shares, 1, generator=generator))]
            body = pick(by_kind[kind], generator)
            points, has_front, own = rigged(body, generator), fronts[body.name], number[body.name]
        pools.append(points)
        front.append(has_front)
        family.append(own)
        if (index + 1) % 500 == 0:
            report(Progress(index + 1))
    report(Finished("bodies"))
    spread = [farthest(torch.stack(pools[first : first + 64]), POINTS) for first in range(0, count, 64)]
    anywhere = torch.stack([pool[:POINTS] for pool in pools])
    return FacingBank(
        torch.stack([torch.cat(spread), anywhere], dim=1).half(), torch.tensor(front), torch.tensor(family)
    )


def rigged(body: TrainingBody, generator: torch.Generator) -> Tensor:
    """Points [DRAWN, 3] of a varied body in one of its poses."""
    rest = _rest(body, generator)
    chosen = torch.randperm(len(body.points.bind), generator=generator)[:DRAWN]
    how = Variation(bones=BONES, stretch=STRETCH, mirrored=uniform(0.0, 1.0, generator) < 0.5)
    return body.points.move(rest, rest, chosen, how, generator).rest


def _rest(body: TrainingBody, generator: torch.Generator) -> Pose:
    chance = uniform(0.0, 1.0, generator)
    if chance < OTHER_REST_SHARE and len(body.rests) > 1:
        return body.rest(int(torch.randint(1, len(body.rests), (), generator=generator)))
    motions = [motion for motion in body.motions if motion.verb not in TURNING]
    if chance > 1.0 - MOMENT_SHARE and motions:
        motion = pick(motions, generator)
        return body.file.pose(motion.clip, torch.tensor([uniform(0.0, 1.0, generator) * motion.seconds]))
    return body.rest()


def procedural(kind: str, generator: torch.Generator) -> Tensor:
    """Points [DRAWN, 3] of a random procedural body."""
    means = BUILDERS[kind](generator, DRAWN + 64).body.gaussians.means
    return means[torch.randint(0, len(means), (DRAWN,), generator=generator)]


def plain_thing(generator: torch.Generator) -> Tensor:
    """Points [DRAWN, 3] of a thing without a front: turned on a lathe, or boxes on one another."""
    height = uniform(0.3, 3.0, generator)
    share = torch.rand(DRAWN, generator=generator)
    angle = 2.0 * math.pi * torch.rand(DRAWN, generator=generator)
    if uniform(0.0, 1.0, generator) < 0.6:
        knots = 0.1 + torch.rand(6, generator=generator)
        at = 5.0 * share
        low = at.floor().long().clamp(max=4)
        radius = torch.lerp(knots[low], knots[low + 1], at - low)
        if uniform(0.0, 1.0, generator) < 0.4:  # petals, or a fluted column
            radius = radius * (1.0 + 0.3 * torch.cos(angle * int(torch.randint(3, 9, (), generator=generator))))
        return torch.stack([radius * angle.sin(), height * share, radius * angle.cos()], dim=1)
    boxes = int(torch.randint(1, 4, (), generator=generator))
    size = 0.2 + torch.rand(boxes, 3, generator=generator)
    base = torch.cat([torch.zeros(1), size[:, 1].cumsum(0)[:-1]])
    which = torch.randint(0, boxes, (DRAWN,), generator=generator)
    points = 2.0 * torch.rand(DRAWN, 3, generator=generator) - 1.0
    side = torch.randint(0, 3, (DRAWN,), generator=generator)
    points.scatter_(1, side[:, None], points.gather(1, side[:, None]).sign())
    points = 0.5 * points * size[which]
    return points + torch.stack([torch.zeros(DRAWN), base[which] + 0.5 * size[which, 1], torch.zeros(DRAWN)], dim=1)


def farthest(points: Tensor, count: int) -> Tensor:
    """``count`` of ``points`` [B, N, 3] of each row, each the farthest from those before it: as ``spread_points``."""
    rows = torch.arange(len(points))
    chosen = [torch.zeros(len(points), dtype=torch.long)]
    away = torch.full(points.shape[:2], math.inf)
    x, y, z = points.unbind(dim=2)
    for _ in range(count - 1):
        last = chosen[-1]
        near = (x - x[rows, last, None]).square()
        near += (y - y[rows, last, None]).square()
        near += (z - z[rows, last, None]).square()
        torch.minimum(away, near, out=away)
        chosen.append(away.argmax(dim=1))
    return points[rows[:, None], torch.stack(chosen, dim=1)]
