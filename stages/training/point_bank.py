"""The examples that the points prior learns from: bodies of all kinds as points, their motions as coefficients.

Verbs are drawn by the square root of how many bodies make them, kinds of bodies likewise, so that fish and knights do
not drown the one bat. Rest poses are those that people have: mostly a neutral stance, then T and A poses, the pose that
the skin was bound in, and a moment of another clip.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from stages.conventions import step_generator
from stages.events import Finished, Progress, Report, Started
from stages.files import replacing, write_tensors
from stages.geometry.trajectories import NUM_FUNCTIONS, basis_of
from stages.priors.points.model import Manner, Verb
from stages.priors.points.prior import STATIC
from stages.skeletons.rigged import RiggedFile
from stages.skeletons.skeleton import Pose
from stages.zoo.bodies import BodyEntry, open_body
from stages.zoo.captions import pick, uniform
from stages.zoo.clips import BUILDERS, CYCLIC, PROCEDURAL_VERBS
from stages.zoo.trajectories import (
    AS_IT_IS,
    POOL,
    PointBody,
    Trajectories,
    clip_poses,
    entered,
    random_variation,
    stay,
)

NUM_POINTS = 384
"""Points that an example holds; each training step takes some of them."""

STATIC_SHARE = 0.03
"""How often a body that does not move is drawn: negative prompts and the static LoRA say so."""

FARTHEST = 2.5
"""Root mean square displacement of an example, in half sides of the box, beyond which it is drawn again."""

MIN_BODIES = 4
"""Of which a verb needs so many to count; a kind of procedural body, of which no two are alike, is as many."""

PROCEDURAL_SHARE = 0.12
OTHER_REST_SHARE, MOMENT_SHARE = 0.22, 0.12
"""How often a body is procedural; stands as a T, an A or as it was bound; stands in a moment of another clip."""

BONES, STRETCH = 0.25, 0.15
"""Deviations of the logarithms of bone sizes and of the body's axes. [ours]"""


@dataclass(frozen=True)
class Motion:
    """A clip of a body."""

    clip: str
    verb: str
    cyclic: bool
    seconds: float
    manner: str  # FAMILY/CLIP
    travels: bool = False
    poses: Callable[[Tensor, float], Pose] | None = None  # at times, from a phase on; of a clip that is another body's


@dataclass(frozen=True)
class TrainingBody:
    """A rigged body: its clips and the poses it may rest in, the first of them neutral."""

    name: str
    kind: str
    read: Callable[[], RiggedFile]
    rests: tuple[str, ...]
    motions: tuple[Motion, ...]

    @cached_property
    def file(self) -> RiggedFile:
        """The file, read once."""
        return self.read()

    @cached_property
    def points(self) -> PointBody:
        """Its points, the same in every session."""
        return PointBody(self.file, torch.Generator().manual_seed(0))

    def rest(self, index: int = 0) -> Pose:
        """One of its rest poses."""
        return self.file.named_pose(self.rests[index])


@dataclass(frozen=True)
class Example:
    """One body at rest, what it does, and the coefficients of its points' trajectories."""

    rest: Tensor  # [N, 3]
    coefficients: Tensor  # [N, K, 3]
    verb: str
    cyclic: bool
    manner: str = ""  # none of a body that does not move


def training_bodies(entries: Sequence[BodyEntry]) -> list[TrainingBody]:
    """Packed bodies as what examples are drawn from."""
    return [
        TrainingBody(
            entry.file,
            entry.kind,
            partial(open_body, entry),
            tuple(pose.pose for pose in entry.rest),
            tuple(
                Motion(
                    clip.clip,
                    clip.verb,
                    clip.cyclic,
                    clip.seconds,
                    f"{entry.family}/{clip.clip}",
                    clip.large_root_motion,
                )
                for clip in entry.clips
            ),
        )
        for entry in entries
    ]


class Examples:
    """Draws examples from ``bodies`` and procedural ones.

    Args:
        bodies: rigged ones.
        procedural: whether to take those too.
        at_least: bodies that a verb needs to count.
        verbs, manners: that another prior knew before; they stay known.
    """

    def __init__(
        self,
        bodies: Sequence[TrainingBody],
        *,
        procedural: bool = True,
        at_least: int = MIN_BODIES,
        verbs: Sequence[Verb] = (),
        manners: Sequence[Manner] = (),
    ) -> None:
        self.bodies = bodies
        kinds: dict[str, dict[str, list[tuple[TrainingBody, Motion]]]] = defaultdict(lambda: defaultdict(list))
        loops, seconds = Counter[str](), defaultdict(list)
        for body in bodies:
            for motion in body.motions:
                kinds[motion.verb][body.kind].append((body, motion))
                if motion.poses:
                    continue
                loops[motion.verb] += 1 if motion.cyclic else -1
                seconds[motion.verb].append(motion.seconds)
        made = [(kind, verb) for kind, verbs in PROCEDURAL_VERBS.items() for verb in verbs] if procedural else []
        self.procedural: dict[str, list[str]] = defaultdict(list)
        for kind, verb in made:
            self.procedural[verb].append(kind)
        count = {
            verb: len({body.name for found in of.values() for body, motion in found if not motion.poses})
            + MIN_BODIES * len(self.procedural[verb])
            for verb, of in kinds.items()
        } | {verb: MIN_BODIES for verb in self.procedural if verb not in kinds}
        moving = tuple(sorted(verb for verb, number in count.items() if number >= at_least))
        self.left_out = tuple(sorted(set(count) - set(moving)))
        kept = [verb for verb in verbs if verb.name not in (*moving, STATIC)]
        self.verbs = (*moving, *(verb.name for verb in kept), STATIC)
        self.kinds = {verb: dict(kinds[verb]) for verb in moving}
        self.manners = tuple(
            Manner(name, verb)
            for verb in moving
            for name in sorted(
                {motion.manner for found in self.kinds[verb].values() for _, motion in found}
                | {made_manner(kind, verb) for kind in self.procedural[verb]}
            )
        )
        self.manners += tuple(manner for manner in manners if manner not in self.manners)
        known = {verb.name: verb for verb in verbs}
        self.cyclic = {
            verb: known[verb].cyclic if verb in known else loops[verb] > 0 if loops[verb] else verb in CYCLIC
            for verb in self.verbs
        }
        self.seconds = {
            verb: known[verb].seconds if verb in known else float(torch.tensor(seconds[verb] or [1.0]).median())
            for verb in self.verbs
        }
        shares = torch.tensor([math.sqrt(count[verb]) for verb in moving])
        shares = shares * ((1.0 - STATIC_SHARE) / shares.sum())
        self.shares = torch.cat([shares, torch.zeros(len(kept)), torch.tensor([STATIC_SHARE])])

    def draw(self, generator: torch.Generator, num_points: int = NUM_POINTS) -> Example:
        """A random one."""
        while True:
            example = self._draw(generator, num_points)
            if float(example.coefficients.square().sum(dim=(1, 2)).mean().sqrt()) < FARTHEST:
                return example

    def _draw(self, generator: torch.Generator, num_points: int) -> Example:
        verb = self.verbs[int(torch.multinomial(self.shares, 1, generator=generator))]
        if verb == STATIC:
            still = self.draw(generator, num_points)
            loop = uniform(0.0, 1.0, generator) < 0.5
            return Example(still.rest, torch.zeros_like(still.coefficients), STATIC, loop)
        rigged, made = self.kinds[verb], self.procedural[verb]
        if made and (not rigged or uniform(0.0, 1.0, generator) < PROCEDURAL_SHARE):
            return self._procedural(pick(made, generator), verb, num_points, generator)
        names = list(rigged)
        of = torch.tensor([math.sqrt(len({body.name for body, _ in rigged[kind]})) for kind in names])
        kind = names[int(torch.multinomial(of, 1, generator=generator))]
        body, motion = pick(rigged[kind], generator)
        moved = rigged_example(
            body, motion, self.cyclic[verb], self._rest(body, motion, generator), num_points, generator, vary=True
        )
        return Example(moved.rest, _coefficients(moved, self.cyclic[verb]), verb, self.cyclic[verb], motion.manner)

    def _rest(self, body: TrainingBody, motion: Motion, generator: torch.Generator) -> Pose:
        chance = uniform(0.0, 1.0, generator)
        if chance < OTHER_REST_SHARE and len(body.rests) > 1:
            return body.rest(int(torch.randint(1, len(body.rests), (), generator=generator)))
        others = [one for one in body.motions if one.clip != motion.clip and not one.poses]
        others = [other for other in others if other.verb not in ("die", "flop")]
        if chance > 1.0 - MOMENT_SHARE and others:
            other = pick(others, generator)
            return body.file.pose(other.clip, torch.tensor([uniform(0.0, 1.0, generator) * other.seconds]))
        return body.rest()

    def _procedural(self, kind: str, verb: str, num_points: int, generator: torch.Generator) -> Example:
        cyclic = self.cyclic[verb]
        made = BUILDERS[kind](generator, num_points + 64)
        times = basis_of(cyclic).times()
        amplitude = uniform(0.8, 1.2, generator)
        if cyclic:
            poses = made.pose(verb, (times + uniform(0.0, 1.0, generator)) % 1.0, amplitude)
        else:
            poses = entered(made.body.rest, made.pose(verb, times, amplitude))
        frames = made.body.animate(poses)
        chosen = torch.randperm(frames.asset.num_gaussians, generator=generator)[:num_points]
        rest = frames.asset.means[chosen]
        low, high = rest.amin(dim=0), rest.amax(dim=0)
        scale = 2.0 / float((high - low).max())
        moved = Trajectories(
            scale * (rest - 0.5 * (low + high)), scale * (frames.means[:, chosen] - rest), torch.ones(len(chosen))
        )
        return Example(moved.rest, _coefficients(moved, cyclic), verb, cyclic, made_manner(kind, verb))


def made_manner(kind: str, verb: str) -> str:
    """The manner in which a procedural body moves."""
    return f"procedural/{kind} {verb}"


def rigged_example(
    body: TrainingBody,
    motion: Motion,
    cyclic: bool,
    rest: Pose,
    num_points: int,
    generator: torch.Generator,
    *,
    vary: bool,
) -> Trajectories:
    """Points of ``body`` that make ``motion`` from ``rest``; as a loop where ``cyclic``, of a random phase."""
    times = basis_of(cyclic).times()
    phase = uniform(0.0, 1.0, generator) if cyclic and vary else 0.0
    poses = motion.poses(times, phase) if motion.poses else clip_poses(body.file, motion.clip, times, cyclic, phase)
    if not cyclic:
        poses = entered(rest, poses)
    points = torch.randperm(POOL, generator=generator)[:num_points]
    how = random_variation(generator, bones=BONES, stretch=STRETCH) if vary else AS_IT_IS
    moved = body.points.move(rest, poses, points, how, generator)
    return Trajectories(moved.rest, stay(moved.displacements, cyclic, travels=motion.travels), moved.rigid)


def _coefficients(moved: Trajectories, cyclic: bool) -> Tensor:
    return basis_of(cyclic).coefficients(moved.displacements.transpose(0, 1))


@dataclass(frozen=True)
class PointBank:
    """Many examples in memory."""

    rest: Tensor  # [M, N, 3] float16
    coefficients: Tensor  # [M, N, K, 3] float16
    verb: Tensor  # [M] numbers
    manner: Tensor  # [M] numbers
    cyclic: Tensor  # [M] 0 or 1

    @property
    def scales(self) -> Tensor:
        """The usual size [2, K] of each coefficient, of motions that run through once and of loops: the mean over
        examples of the root mean square."""
        sizes = self.coefficients.float().square().mean(dim=(1, 3))  # [M, K]
        found = []
        for cyclic in (0, 1):
            own = sizes[self.cyclic == cyclic]
            found.append(own.sqrt().mean(dim=0) if len(own) else torch.ones(NUM_FUNCTIONS))
        return torch.stack(found).clamp(min=1e-3)


SHARD = 1000
"""Examples in a file of a bank."""


def write_bank(folder: Path, examples: Examples, count: int, seed: int, report: Report) -> None:
    """Draw ``count`` examples into files in ``folder``, the same for the same seed; files that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [first for first in range(0, count, SHARD) if not _shard(folder, first).exists()]
    if not missing:
        return
    report(Started("examples", len(missing) * SHARD))
    numbers = {(manner.name, manner.verb): number for number, manner in enumerate(examples.manners)}
    for number, first in enumerate(missing):
        drawn = [
            examples.draw(step_generator(seed, index, stream=11)) for index in range(first, min(count, first + SHARD))
        ]
        tensors = {
            "rest": torch.stack([one.rest for one in drawn]).half(),
            "coefficients": torch.stack([one.coefficients for one in drawn]).half(),
            "verb": torch.tensor([examples.verbs.index(one.verb) for one in drawn]),
            "manner": torch.tensor([numbers.get((one.manner, one.verb), len(numbers)) for one in drawn]),
            "cyclic": torch.tensor([int(one.cyclic) for one in drawn]),
        }
        with replacing(_shard(folder, first)) as temporary:
            write_tensors(temporary, tensors)
        report(Progress((number + 1) * SHARD))
    report(Finished("examples"))


def read_bank(folder: Path, count: int) -> PointBank:
    """The first ``count`` examples in ``folder``, in memory."""
    shards = [load_file(_shard(folder, first)) for first in range(0, count, SHARD)]
    return PointBank(**{name: torch.cat([shard[name] for shard in shards]) for name in shards[0]})


def _shard(folder: Path, first: int) -> Path:
    return folder / f"examples_{first // SHARD:04d}.safetensors"
