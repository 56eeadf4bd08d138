"""4D-SDS as what ``refine`` follows: in each step the prior looks from another side, and says what it would rather see.

Animate3D draws the first camera's azimuth anew in each step (Eq. 8). Here it is one of a fixed number, spread evenly
from a random one on, so that what the prior is told of each is computed once. [ours]
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stages.conventions import step_generator
from stages.distilling.draw_videos import cameras_for
from stages.gaussians import Frames, Gaussians
from stages.objectives.clean_estimate import clean_estimate, clean_loss
from stages.priors.prior import Condition, MultiViewPrior, VideoPrior, Viewpoint
from stages.raster import Rasterizer
from stages.settings import check


@dataclass(frozen=True, kw_only=True)
class CleanScoreConfig:
    """Settings of 4D-SDS: Animate3D's, but for the weight and the number of azimuths."""

    weight: float = 100.0  # of the mean over latents: at 1, ARAP beside it stops the motion

    guidance: float = 6.0  # in this project's convention, where 1 is none; 5 in the paper's
    rescale: float = 0.25
    timestep_min: float = 0.02
    timestep_max: float = 0.2
    num_azimuths: int = 8

    def __post_init__(self) -> None:
        check(self, weight=0, guidance=1, rescale=0, timestep_min=0, timestep_max=0, num_azimuths=1)


class CleanScore:
    """4D-SDS of one sentence.

    Args:
        prior: of videos, or of V views.
        asset: at rest.
        background: [3] behind it.
        prompt: of the motion.
        seed: of azimuths, timesteps and noise.
    """

    def __init__(
        self,
        prior: VideoPrior | MultiViewPrior,
        asset: Gaussians,
        background: Tensor,
        rasterizer: Rasterizer,
        config: CleanScoreConfig,
        *,
        prompt: str,
        seed: int,
    ) -> None:
        self.prior, self.asset, self.config, self.seed = prior, asset, config, seed
        offset = 360.0 * float(torch.rand((), generator=step_generator(seed, 0, stream=5)))
        self.viewpoints = []
        for number in range(config.num_azimuths):
            first, *others = cameras_for(prior, asset, offset + 360.0 * number / config.num_azimuths)
            self.viewpoints.append(Viewpoint(first, background, rasterizer, beside=tuple(others)))
        self.times = prior.frame_times(self.viewpoints[0])
        self.text, self.null = prior.encode_text([prompt, ""]).split()
        self._conditions: dict[int, Condition] = {}

    def condition(self, number: int) -> Condition:
        """What the prior is told from one of the viewpoints."""
        if number not in self._conditions:
            self._conditions[number] = self.prior.condition(self.text, self.asset, self.viewpoints[number])
        return self._conditions[number]

    def loss(self, frames: Frames, step: int) -> Tensor:
        """4D-SDS of ``frames``, at ``times``, in optimiser step ``step``."""
        config, generator = self.config, step_generator(self.seed, step, stream=6)
        number = int(torch.randint(0, config.num_azimuths, (), generator=generator))
        share = float(torch.rand((), generator=generator))
        timestep = self.prior.parameterization.timestep_at(
            config.timestep_min + share * (config.timestep_max - config.timestep_min)
        )
        latents = self.prior.observe(frames, self.viewpoints[number]).latents
        assert latents is not None
        condition = self.condition(number)
        eps = self.prior.noise(latents, condition, generator)
        estimate = clean_estimate(
            self.prior,
            latents.detach(),
            eps,
            timestep,
            condition,
            replace(condition, text=self.null),
            guidance=config.guidance,
            rescale=config.rescale,
        )
        return clean_loss(latents, estimate)
