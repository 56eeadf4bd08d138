"""What the points prior is asked to do on bodies that it has never seen, and what these bodies do themselves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from stages.gaussians import Gaussians
from stages.geometry.trajectories import basis_of
from stages.priors.points import PointsPrior
from stages.priors.points.model import Verb
from stages.priors.prior import Text
from stages.skeletons.skeleton import Body
from stages.training.point_bank import Motion, TrainingBody, training_bodies
from stages.zoo.bodies import BodyEntry, bodies
from stages.zoo.trajectories import clip_poses, entered, stay

NUM_GAUSSIANS = 6000
FIVE = ("walk", "run", "jump", "eat", "attack")
LIMBED, LIMBED_MORE, OTHERS = "quadrupeds and bipeds: walk, run, jump, eat, attack", "the same: more", "others"
SPREAD_ARMS = "from a T pose"


@dataclass(frozen=True)
class HeldOut:
    """A held-out body as a splat that stands in one of its rest poses, facing +z, box in [-1, 1]."""

    entry: BodyEntry
    num_gaussians: int
    rest: int = 0  # which of them; the first is neutral

    @property
    def name(self) -> str:
        """As in "Cow", or "RobotExpressive (T)" where it does not stand in its neutral pose."""
        name = self.entry.file.removesuffix(".glb").partition("_")[2]
        return f"{name} ({self.entry.rest[self.rest].kind})" if self.rest else name

    @cached_property
    def source(self) -> TrainingBody:
        """The packed body."""
        return training_bodies([self.entry])[0]

    @cached_property
    def body(self) -> Body:
        """Its Gaussians with their skin weights."""
        return self.source.file.body(self.source.rest(self.rest), self.num_gaussians, torch.Generator().manual_seed(0))

    @property
    def asset(self) -> Gaussians:
        """Its Gaussians at rest."""
        return self.body.gaussians

    def clips(self, verb: str) -> list[Motion]:
        """Its own motions that are called ``verb``."""
        return [motion for motion in self.source.motions if motion.verb == verb]

    def moves(self, motion: Motion, cyclic: bool, num_frames: int | None = None) -> Tensor:
        """How far each Gaussian is from rest in one of its own motions, [T, N, 3]: what the prior is trained to make.

        Args:
            motion: of this body.
            cyclic: whether it is taken as a loop, or entered from the rest pose.
            num_frames: T of a loop, the frames of trajectories unless given.
        """
        times = basis_of(cyclic).times() if num_frames is None else torch.arange(num_frames) / num_frames
        poses = clip_poses(self.source.file, motion.clip, times, cyclic)
        if not cyclic:
            poses = entered(self.body.rest, poses)
        away = self.body.animate(poses).means - self.asset.means
        return stay(away, cyclic, travels=motion.travels)


@lru_cache(maxsize=4)
def held_out(num_gaussians: int = NUM_GAUSSIANS) -> tuple[HeldOut, ...]:
    """All held-out bodies; those that have a T pose stand in it too, as another."""
    return tuple(
        HeldOut(entry, num_gaussians, rest)
        for entry in bodies(held_out=True)
        for rest, pose in enumerate(entry.rest)
        if rest == 0 or pose.kind == "T"
    )


@dataclass(frozen=True)
class Task:
    """A held-out body and a motion that the prior knows and the body makes."""

    body: HeldOut
    verb: Verb
    sentence: str  # "" where the prior understands none that says the verb

    @property
    def name(self) -> str:
        """As in "Cow-walk"."""
        return f"{self.body.name}-{self.verb.name}"

    @property
    def group(self) -> str:
        """The line of the table that it belongs to."""
        if self.body.rest:
            return SPREAD_ARMS
        if self.body.entry.kind not in ("quadruped", "biped"):
            return OTHERS
        return LIMBED if self.verb.name in FIVE else LIMBED_MORE

    def text(self, prior: PointsPrior) -> Text:
        """What the prior is told: the sentence, or else the verb's number."""
        if self.sentence:
            return prior.encode_text([self.sentence])
        return Text((self.verb.name,), pooled=torch.tensor([[prior.numbers[self.verb.name]]], device=prior.device))


def tasks_of(prior: PointsPrior, chosen: tuple[HeldOut, ...]) -> list[Task]:
    """The tasks of the bodies ``chosen``."""
    known = {verb.name: verb for verb in prior.model.verbs}
    return [
        Task(body, known[verb], sentence_for(prior, verb, body.entry.nouns[0]))
        for body in chosen
        for verb in dict.fromkeys(motion.verb for motion in body.source.motions)
        if verb in known
    ]


def sentence_for(prior: PointsPrior, verb: str, noun: str) -> str:
    """A sentence that the prior understands as ``verb``; empty where it understands none of those tried."""
    for sentence in (f"the {noun} will {verb}", f"a {noun}: {verb}", verb):
        if prior.understand(sentence).verb == verb:
            return sentence
    return ""
