"""Matching as a term: the prior is asked once for samples of the motion, and one of them is followed in every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.conventions import step_generator
from stages.distilling.sampled import sampled_motion
from stages.distilling.terms import View
from stages.motion.interface import Motion
from stages.motion.point_paths import PointPaths
from stages.motion.skeletal import SkeletalMotion
from stages.objectives.match import consensus, match_loss
from stages.priors.points import PointsPrior, PointView
from stages.priors.points.model import SAMPLE_STEPS
from stages.priors.prior import Observation, Wanted
from stages.settings import check


@dataclass(frozen=True, kw_only=True)
class MatchConfig:
    """Settings of matching, for priors that sample trajectories. [ours]"""

    weight: float = 1.0
    sample: int = 0  # which of the samples of this sentence; 0: the one nearest to the others
    num_samples: int = 3  # that are drawn
    sample_steps: int = SAMPLE_STEPS
    guidance: float = 1.0
    amplitude: float = 1.0  # how far the motion goes, over what was sampled

    def __post_init__(self) -> None:
        check(self, weight=0, sample=0, num_samples=1, sample_steps=1, amplitude=0)


class Match:
    """A ``ScoreTerm``.

    Args:
        prior: draws the samples.
        config: how many, and which is followed.
        seed: of the samples.
        drawn: [B, 3 K, N] samples that were drawn before, to take in their place.
    """

    name = "match"

    def __init__(self, prior: PointsPrior, config: MatchConfig, *, seed: int, drawn: Tensor | None = None) -> None:
        self.prior, self.config, self.weight, self.seed, self.drawn = prior, config, config.weight, seed, drawn
        self._targets: dict[int, Tensor] = {}

    def wanted(self, step: int) -> Sequence[Wanted]:
        """See ``ScoreTerm.wanted``."""
        return ("latents",)

    def loss(self, observation: Observation, view: View, step: int, generator: torch.Generator) -> Tensor:
        """See ``ScoreTerm.loss``."""
        return match_loss(observation, self.target(view))

    @torch.no_grad()
    def begin(self, motion: Motion, view: View) -> None:
        """Give a motion that is made of paths those of the sample, and turn bones along them, so that little is left to
        do."""
        if isinstance(motion, PointPaths):
            assert isinstance(view.viewpoint, PointView)
            sampled = sampled_motion(self.prior, self.target(view), view.asset, view.viewpoint)
            moves = sampled.displacements(motion.points, motion.basis.times().to(motion.points))
            motion.set_paths(motion.basis.coefficients(moves.transpose(0, 1)))
        if isinstance(motion, SkeletalMotion):
            assert isinstance(view.viewpoint, PointView)
            sampled = sampled_motion(self.prior, self.target(view), view.asset, view.viewpoint)
            points = view.asset.means
            motion.follow(points, sampled.displacements(points, motion.times().to(points)))

    def target(self, view: View) -> Tensor:
        """What is followed, [1, 3 K, N]."""
        if view.index not in self._targets:
            found = self.samples(view) if self.drawn is None else self.drawn
            number = self.config.sample
            chosen = found[number - 1 : number] if number else consensus(found)
            self._targets[view.index] = self.config.amplitude * chosen
        return self._targets[view.index]

    def samples(self, view: View) -> Tensor:
        """The samples of the sentence from a viewpoint, the same for the same seed."""
        config = self.config
        return self.prior.sample(
            view.condition,
            step_generator(self.seed, view.index, stream=8),
            count=max(config.num_samples, config.sample),
            steps=config.sample_steps,
            guidance=config.guidance,
        )
