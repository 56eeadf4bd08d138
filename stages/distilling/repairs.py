"""What ``refine`` fits: the motion as the prior would have it, noised and denoised (SDEdit), as videos or as paths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from stages.conventions import step_generator
from stages.distilling.viewpoints import film
from stages.gaussians import Frames, Gaussians
from stages.motion.interface import Motion
from stages.objectives.sampling import ddim_denoise, sdedit
from stages.priors.points import PointsPrior
from stages.priors.prior import Condition, VideoPrior, Viewpoint, pictures, still


@dataclass(frozen=True, kw_only=True)
class Sdedit:
    """How much is repaired."""

    strength: float  # how far back into noise, as a share of the schedule
    num_steps: int
    guidance: float


class Repairs(Protocol):
    """Repaired pictures or paths from every viewpoint."""

    viewpoints: Sequence[Viewpoint]
    times: Tensor
    """The ``frame_time`` [T'] of the frames that are compared."""

    def repair(self, motion: Motion) -> Iterator[int]:
        """Repair one viewpoint after the other; the number of those that are done."""
        ...

    def loss(self, frames: Frames, generator: torch.Generator) -> Tensor:
        """L1 distance of ``frames``, at ``times``, from the repaired ones of a random viewpoint."""
        ...


class RepairedVideos:
    """Videos through cameras.

    Args:
        prior: repairs them.
        asset: at rest.
        viewpoints: one a video.
        times: [T'] of the videos.
        prompt: of the motion.
        how: much is repaired.
        frames_per_step: of the video that ``loss`` looks at.
    """

    def __init__(
        self,
        prior: VideoPrior,
        asset: Gaussians,
        viewpoints: Sequence[Viewpoint],
        times: Tensor,
        prompt: str,
        how: Sdedit,
        *,
        frames_per_step: int,
        seed: int,
    ) -> None:
        self.prior: VideoPrior | None = prior
        self.asset, self.viewpoints, self.times, self.prompt = asset, viewpoints, times, prompt
        self.how, self.frames_per_step, self.seed = how, frames_per_step, seed
        self.videos: list[Tensor] = []

    def repair(self, motion: Motion) -> Iterator[int]:
        """See ``Repairs.repair``. The prior is let go afterwards: the motion needs the memory."""
        assert self.prior is not None
        for index, viewpoint in enumerate(self.viewpoints):
            self.videos.append(
                sdedit(
                    self.prior,
                    film(self.asset, motion, self.times, viewpoint),
                    still(self.asset, viewpoint),
                    self.prompt,
                    partial(step_generator, self.seed, index, stream=6),
                    strength=self.how.strength,
                    num_steps=self.how.num_steps,
                    guidance=self.how.guidance,
                )
            )
            yield index + 1
        self.prior = None

    def loss(self, frames: Frames, generator: torch.Generator) -> Tensor:
        """See ``Repairs.loss``."""
        view = int(torch.randint(0, len(self.viewpoints), (), generator=generator))
        chosen = torch.randperm(len(self.times), generator=generator)[: self.frames_per_step].sort().values
        images = pictures(frames.select(chosen), self.viewpoints[view])
        return (images - self.videos[view][chosen]).abs().mean()


class RepairedPaths:
    """Paths of points, for a prior that sees those. They are functions of time: any number of frames follows."""

    def __init__(
        self,
        prior: PointsPrior,
        asset: Gaussians,
        viewpoints: Sequence[Viewpoint],
        prompt: str,
        how: Sdedit,
        *,
        seed: int,
    ) -> None:
        self.prior, self.asset, self.viewpoints, self.prompt = prior, asset, viewpoints, prompt
        self.how, self.seed = how, seed
        self.times = prior.frame_times(viewpoints[0])
        self.latents: Tensor | None = None

    @torch.no_grad()
    def repair(self, motion: Motion) -> Iterator[int]:
        """See ``Repairs.repair``."""
        prior = self.prior
        latents = prior.observe(motion.at(self.asset, self.times), self.viewpoints[0]).latents
        assert latents is not None
        text, null = prior.encode_text([self.prompt, ""]).split()
        condition = prior.condition(text, self.asset, self.viewpoints[0])
        timestep = prior.parameterization.timestep_at(self.how.strength)
        eps = prior.noise(latents, condition, step_generator(self.seed, 0, stream=6))
        x_t = prior.parameterization.add_noise(latents, eps, timestep)
        away = Condition(null, condition.picture)
        found = ddim_denoise(
            prior, x_t, timestep, condition, self.how.num_steps, negative=away, guidance=self.how.guidance
        )
        self.latents = prior.kept_rigid(found, prior.told(condition, len(found)))
        yield 1

    def loss(self, frames: Frames, generator: torch.Generator) -> Tensor:
        """See ``Repairs.loss``."""
        latents = self.prior.observe(frames, self.viewpoints[0]).latents
        assert latents is not None and self.latents is not None
        return (latents - self.latents).abs().mean()
