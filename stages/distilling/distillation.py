"""What ``distill`` does in one step: draw a viewpoint, let the prior observe the moving asset, add up the terms.

Apart from the stage so that benchmarks and searches take the same steps without a run directory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from stages.conventions import step_generator
from stages.distilling.match import Match, MatchConfig
from stages.distilling.pixel_flow import PixelFlow, PixelFlowConfig
from stages.distilling.score import Score, ScoreConfig
from stages.distilling.terms import Prompts, ScoreTerm, View
from stages.gaussians import Gaussians
from stages.motion.interface import Motion, Regularizer
from stages.priors.points import sees_points
from stages.priors.prior import Prior, Viewpoint, pictures, predicts_pixel_flow


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Which objectives there are, and how they are weighed: with a weight of 0 one is left out."""

    score: ScoreConfig = field(default_factory=ScoreConfig)
    match: MatchConfig = field(default_factory=lambda: MatchConfig(weight=0.0))
    pixel_flow: PixelFlowConfig = field(default_factory=PixelFlowConfig)
    regularizers_left: float = 1.0  # share of the weights of ``EASED`` at the end, to which they fall geometrically


EASED = ("tv", "arap", "smooth")
"""Regularizers that are right only nearly: they lead a motion that is still unclear, and hold back one that is clear.
At the end of MSD on the exact prior, ARAP of weight 30 takes a field that was fitted to the true clip from a distance
ratio of 0.06 to 0.22; without it, it stays at 0.07 (``docs/views.md``)."""


def terms(
    prior: Prior, config: ObjectiveConfig, *, steps: int, seed: int, drawn: Tensor | None = None
) -> list[ScoreTerm]:
    """The objectives that ``config`` asks for and ``prior`` can serve: the one table of them."""
    score, match, pixel_flow, found = config.score, config.match, config.pixel_flow, list[ScoreTerm]()
    if score.weight:
        found.append(Score(prior, score, steps=steps, seed=seed))
    if match.weight and sees_points(prior):
        found.append(Match(prior, match, seed=seed, drawn=drawn))
    if pixel_flow.weight and predicts_pixel_flow(prior):
        found.append(PixelFlow(prior, pixel_flow, (score.timestep_min, score.timestep_max), seed=seed))
    return found


class Distillation:
    """Everything a step needs that does not change between steps.

    Args:
        asset: at rest.
        prior: that observes it.
        viewpoints: the fixed set that steps draw from.
        prompts: the sentence, what to move away from, and that of the static LoRA ("" without one).
        config: the objectives.
        steps, seed: of the whole optimisation.
        drawn: samples of the motion that the prior has drawn before, of which one is matched.
    """

    def __init__(
        self,
        asset: Gaussians,
        prior: Prior,
        viewpoints: Sequence[Viewpoint],
        prompts: tuple[str, str, str],
        config: ObjectiveConfig,
        *,
        steps: int,
        seed: int,
        drawn: Tensor | None = None,
    ) -> None:
        self.asset, self.prior, self.config, self.steps, self.seed = asset, prior, config, steps, seed
        self.times = prior.frame_times(viewpoints[0])
        with torch.no_grad():
            motion, negative, static = prior.encode_text(prompts).split()
        encoded = Prompts(motion=motion, negative=negative, static=static)
        self.views = [View(index, at, asset, prior, encoded) for index, at in enumerate(viewpoints)]
        self.terms = terms(prior, config, steps=steps, seed=seed, drawn=drawn)

    def begin(self, motion: Motion) -> None:
        """Let terms that know where the motion goes say so before the first step."""
        for term in self.terms:
            if isinstance(term, Match):
                term.begin(motion, self.views[0])

    def step(self, motion: Motion, regularizers: Sequence[Regularizer], step: int) -> dict[str, Tensor]:
        """Values of all terms in optimiser step ``step``, by name; "loss" is their weighted sum."""
        generator = step_generator(self.seed, step)
        view = self.views[int(torch.randint(0, len(self.views), (), generator=generator))]
        frames = motion.at(self.asset, self.times)
        wanted = {what for term in self.terms for what in term.wanted(step)}
        done = step / max(1, self.steps)
        blur, eased = self.config.score.blur_at(done), self.config.regularizers_left**done
        observation = self.prior.observe(frames, view.viewpoint, sorted(wanted), blur=blur)
        weighted = [
            (term.name, term.weight, term.loss(observation, view, step, generator))
            for term in self.terms
            if term.wanted(step)
        ]
        weighted += [
            (term.name, term.weight * (eased if term.name in EASED else 1.0), term(frames, generator))
            for term in regularizers
        ]
        total = torch.stack([weight * value for _, weight, value in weighted]).sum()
        return {"loss": total, **{name: value for name, _, value in weighted}}

    @torch.no_grad()
    def film(self, motion: Motion) -> Tensor:
        """The present motion from the first viewpoint, [T, H, W, 3]."""
        return pictures(motion.at(self.asset, self.times), self.views[0].viewpoint)
