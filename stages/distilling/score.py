"""The score as a term: motion score distillation or plain score distillation, its timesteps and its noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from stages.conventions import step_generator
from stages.distilling.terms import View
from stages.errors import BadInput
from stages.objectives.msd import distillation_loss, msd_gradient, static_score
from stages.objectives.sds import SdsForm, sds_gradient
from stages.priors.prior import Observation, Prior, Wanted
from stages.settings import check


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """Settings of the score. The paper states none of guidance, timesteps, w(t) and inversion steps: [ours], chosen by
    looking at what the embedded prior does (``docs/priors.md``)."""

    objective: Literal["msd", "sds"] = "msd"
    sds_form: SdsForm = "eps"  # of sds: the difference of noises, or of clean estimates, see ``stages.objectives.sds``
    weight: float = 1.0
    every: int = 4  # steps: it costs most of the time
    guidance: float = 1.1
    inversion_steps: int = 1  # 0: random noise instead
    static_branch: Literal["lora", "prompt", "none"] = "lora"  # what is subtracted; the others are for ``ablate``
    own_noise: bool = True  # each branch's score relative to its own noise, see ``stages.objectives.msd``
    start_noise: Literal["fresh", "fixed", "none"] = "fresh"  # in which inversion begins, see ``ddim_invert``
    timestep_min: float = 0.95  # as fractions of the schedule
    timestep_max: float = 0.99
    timestep_min_end: float | None = None  # the lower end is annealed linearly to this; None: it stays
    timestep_max_end: float = 0.97  # the upper end likewise
    anneal_share: float = 1.0  # of the steps, in which the ends get there
    num_timesteps: int = 8  # rungs of the ladder
    blur: float = 5 / 64  # of the residual, in heights of the picture, see ``stages.raster.smoothing``
    blur_until: float = 1.0  # the share of the steps in which it falls, linearly, to none

    def __post_init__(self) -> None:
        check(self, weight=0, every=1, inversion_steps=0, num_timesteps=1, blur=0, blur_until=0, anneal_share=0)
        if not 0.0 <= self.timestep_min <= self.timestep_max <= 1.0 or not 0.0 <= self.timestep_max_end <= 1.0:
            raise BadInput(
                f"Timesteps from {self.timestep_min:g} to {self.timestep_max:g} are no range within 0 to 1.",
                "timestep_min must not lie above timestep_max.",
            )
        if self.timestep_min_end is not None and not 0.0 <= self.timestep_min_end <= self.timestep_max_end:
            raise BadInput(
                f"Timesteps from {self.timestep_min_end:g} to {self.timestep_max_end:g} are no range within 0 to 1.",
                "timestep_min_end must not lie above timestep_max_end.",
            )
        if self.weight == 0.0 or self.objective == "sds":
            return
        if self.start_noise == "fresh" and not self.own_noise:
            raise BadInput(
                "own_noise=false compares branches that hold the same noise; start_noise=fresh gives each its own.",
                "Add: --set start_noise=fixed",
            )
        if self.inversion_steps == 0 and self.start_noise == "none":
            raise BadInput(
                "inversion_steps=0 adds random noise; start_noise=none has none.", "Add: --set start_noise=fresh"
            )
        if self.static_branch == "none" and not self.own_noise:
            raise BadInput("static_branch=none leaves a clip's own noise to subtract.", "Add: --set own_noise=true")

    @property
    def compares(self) -> bool:
        """Whether the moving asset is compared with the asset at rest, which takes a static LoRA."""
        return self.weight > 0.0 and self.objective == "msd" and self.static_branch != "none"

    @property
    def lowest_timestep(self) -> float:
        """The lower end of all timesteps that are drawn, as a fraction of the schedule."""
        return self.timestep_min if self.timestep_min_end is None else min(self.timestep_min, self.timestep_min_end)

    @property
    def highest_timestep(self) -> float:
        """The upper end; an annealing without a lower end of its own never raises it."""
        return self.timestep_max if self.timestep_min_end is None else max(self.timestep_max, self.timestep_max_end)

    def timesteps_at(self, done: float) -> tuple[float, float]:
        """The lower and the upper end when ``done`` of the steps are done, as fractions of the schedule. A lower end
        that stays is that of all timesteps, and so 0 here."""
        annealed = min(1.0, done / max(1e-9, self.anneal_share))
        upper = self.timestep_max + annealed * (self.timestep_max_end - self.timestep_max)
        if self.timestep_min_end is None:
            return 0.0, upper
        return self.timestep_min + annealed * (self.timestep_min_end - self.timestep_min), upper

    def blur_at(self, done: float) -> float:
        """The blur of the residual when ``done`` of the steps are done, in heights of the picture."""
        return self.blur * max(0.0, 1.0 - done / max(1e-9, self.blur_until))


class Score:
    """A ``ScoreTerm``: at a random timestep of a fixed ladder, so that the static branch, which does not depend on the
    motion, is computed once for each pair of a viewpoint and a timestep."""

    name = "score"

    def __init__(self, prior: Prior, config: ScoreConfig, *, steps: int, seed: int) -> None:
        self.prior, self.config, self.weight, self.steps, self.seed = prior, config, config.weight, steps, seed
        rungs = torch.linspace(config.lowest_timestep, config.highest_timestep, config.num_timesteps).tolist()
        self.timesteps = [prior.parameterization.timestep_at(rung) for rung in rungs]
        self._static_eps: dict[tuple[int, int], Tensor] = {}

    def wanted(self, step: int) -> Sequence[Wanted]:
        """See ``ScoreTerm.wanted``."""
        return ("latents",) if step % self.config.every == 0 else ()

    def loss(self, observation: Observation, view: View, step: int, generator: torch.Generator) -> Tensor:
        """See ``ScoreTerm.loss``."""
        assert observation.latents is not None
        timestep = self.draw_timestep(step, generator)
        return distillation_loss(observation, self.gradient(observation.latents, view, timestep, generator))

    def draw_timestep(self, step: int, generator: torch.Generator) -> int:
        """A rung of the ladder between the annealed ends; the nearest to the lower one where there is none between."""
        at = self.prior.parameterization.timestep_at
        lower, upper = map(at, self.config.timesteps_at(step / max(1, self.steps)))
        allowed = [t for t in self.timesteps if lower <= t <= upper]
        allowed = allowed or [min(self.timesteps, key=lambda t: abs(t - lower))]
        return allowed[int(torch.randint(0, len(allowed), (), generator=generator))]

    def gradient(self, latents: Tensor, view: View, timestep: int, generator: torch.Generator) -> Tensor:
        """The objective's direction in latent space [1, C, t, h, w], detached."""
        config, latents = self.config, latents.detach()
        eps = self.prior.noise(latents, view.condition, generator)
        if config.objective == "sds":
            return sds_gradient(
                self.prior,
                latents,
                eps,
                timestep,
                view.condition,
                view.negative,
                guidance=config.guidance,
                form=config.sds_form,
            )
        return msd_gradient(
            self.prior,
            latents,
            self.static_eps(view, timestep),
            timestep,
            view.condition,
            view.negative,
            guidance=config.guidance,
            inversion_steps=config.inversion_steps,
            start_noise=eps if config.start_noise == "fresh" else self.start_noise(view),
            own_noise=config.own_noise,
        )

    def static_eps(self, view: View, timestep: int) -> Tensor:
        """The static branch of one viewpoint and timestep, computed once; zero where there is none."""
        config, key = self.config, (view.index, timestep)
        if config.static_branch == "none":
            return torch.zeros_like(view.still)
        if key not in self._static_eps:
            self._static_eps[key] = static_score(
                self.prior,
                view.still,
                timestep,
                view.static,
                inversion_steps=config.inversion_steps,
                start_noise=self.start_noise(view),
                own_noise=config.own_noise,
                adapted=config.static_branch == "lora",
            )
        return self._static_eps[key]

    def start_noise(self, view: View) -> Tensor | None:
        """The noise in which the inversion of the static branch begins, and unless it is to be fresh in every step that
        of the moving one too: the same whenever a viewpoint is used. None where it is switched off."""
        if self.config.start_noise == "none":
            return None
        generator = step_generator(self.seed, view.index, stream=2)
        return self.prior.noise(view.still, view.condition, generator)
