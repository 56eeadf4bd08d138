"""The predicted pixel flow as a term: asked once for each viewpoint, followed in every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.conventions import step_generator
from stages.distilling.terms import View
from stages.objectives.pixel_flow import guided_pixel_flow, pixel_flow_loss, predicted_pair
from stages.priors.prior import Observation, PixelFlowPrior, Wanted
from stages.settings import check


@dataclass(frozen=True, kw_only=True)
class PixelFlowConfig:
    """Settings of the pixel flow, for priors that predict one. [ours]"""

    weight: float = 0.03  # of the error, in squared pixels
    guidance: float = 2.0
    num_samples: int = 4  # noisy pictures that the prior is asked about for each viewpoint

    def __post_init__(self) -> None:
        check(self, weight=0, num_samples=1)


class PixelFlow:
    """A ``ScoreTerm``. The prior is asked about the asset at rest in so much noise that whether it moves cannot be
    seen: timesteps are spread evenly over ``timesteps``, fractions of the schedule."""

    name = "pixel_flow"

    def __init__(
        self, prior: PixelFlowPrior, config: PixelFlowConfig, timesteps: tuple[float, float], *, seed: int
    ) -> None:
        self.prior, self.config, self.weight = prior, config, config.weight
        self.timesteps, self.seed = timesteps, seed
        self._targets: dict[int, Tensor] = {}

    def wanted(self, step: int) -> Sequence[Wanted]:
        """See ``ScoreTerm.wanted``."""
        return ("pixel_flow",)

    def loss(self, observation: Observation, view: View, step: int, generator: torch.Generator) -> Tensor:
        """See ``ScoreTerm.loss``."""
        if view.index not in self._targets:
            self._targets[view.index] = guided_pixel_flow(self.predicted(view), self.config.guidance)
        return pixel_flow_loss(observation, self._targets[view.index])

    def predicted(self, view: View) -> Tensor:
        """The pixel flow for the negative prompt and for the prompt, [2, T, H, W, 2], the mean over several noises."""
        count, (low, high), pairs = self.config.num_samples, self.timesteps, []
        for sample in range(count):
            timestep = self.prior.parameterization.timestep_at(low + (sample + 0.5) / count * (high - low))
            generator = step_generator(self.seed, view.index * count + sample, stream=4)
            eps = self.prior.noise(view.still, view.condition, generator)
            pairs.append(predicted_pair(self.prior, view.still, eps, timestep, view.condition, view.negative))
        return torch.stack(pairs).mean(dim=0)
