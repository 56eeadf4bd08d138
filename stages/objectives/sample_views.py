"""Sampling V videos of one moving thing together: deterministic steps from noise, guidance, FreeInit.

Animate3D's settings are 25 steps, guidance 7.5 and three rounds of FreeInit (its ``configs/inference``). Frame 0 is
given: the prior puts it into what its network sees and into what it says, so that it is that picture from the first
step on. FreeInit mixes the noise of the frames after it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeGuard

import torch
from torch import Tensor

from stages.objectives.freeinit import mixed
from stages.objectives.guidance import guided_prediction
from stages.objectives.inversion import inversion_timesteps
from stages.priors.prior import Condition, MultiViewPrior

STEPS, GUIDANCE, FREEINIT = 25, 7.5, 3
"""Animate3D's."""


class HasLadder(Protocol):
    """A prior that says at which timesteps it is to be sampled."""

    def ladder(self, steps: int) -> list[int]:
        """Timesteps, clean to noisy."""
        ...


def has_ladder(prior: object) -> TypeGuard[HasLadder]:
    """Whether a prior is a ``HasLadder``."""
    return hasattr(prior, "ladder")


@torch.no_grad()
def sample_views(
    prior: MultiViewPrior,
    condition: Condition,  # of one prompt
    negative: Condition,  # likewise: the null prompt
    generator: torch.Generator,
    *,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
    freeinit: int = FREEINIT,
    each: Callable[[int], None] = lambda done: None,
) -> Tensor:  # [1, V, C, T, h, w] clean
    """V videos that follow from ``condition``.

    Args:
        steps: of one denoising, at the prior's own timesteps where it has a ``ladder``, else evenly spaced to the last.
        guidance: see ``stages.objectives.guidance.guide``.
        freeinit: how often the whole is denoised, 1 or more; the noise of the second and later rounds holds what is
            slow in the sample before.
        each: called after every step with the number of steps done, of ``steps * freeinit`` in all.
    """
    ladder = prior.ladder(steps) if has_ladder(prior) else inversion_timesteps(last_timestep(prior), steps)
    like = torch.empty(latent_shape(prior, condition), device=_device(condition))
    begun = noise = prior.noise(like, condition, generator)
    sample = noise
    for round_ in range(freeinit):
        if round_:
            noised = prior.parameterization.add_noise(sample, begun, last_timestep(prior))
            fresh = prior.noise(like, condition, generator)
            rest = mixed(noised[:, :, :, 1:], fresh[:, :, :, 1:])
            noise = torch.cat([begun[:, :, :, :1], rest], dim=3)
        x = noise
        for done, current in enumerate(reversed(ladder), start=1):
            following = ladder[-done - 1] if done < len(ladder) else -1
            x = ddim_step(prior, x, current, following, condition, negative, guidance)
            each(round_ * len(ladder) + done)
        sample = x
    return sample


def ddim_step(
    prior: MultiViewPrior,
    x_t: Tensor,  # [1, V, C, T, h, w] at ``timestep``
    timestep: int,
    following: int,
    condition: Condition,
    negative: Condition,
    guidance: float,
) -> Tensor:  # [1, V, C, T, h, w] at ``following``, -1 for clean
    """A step without noise of its own (Song et al. 2020, Eq. 12 with sigma 0)."""
    parameterization = prior.parameterization
    prediction = guided_prediction(prior, x_t, timestep, condition, negative, guidance)
    x0 = parameterization.to_x0(prediction, x_t, timestep)
    return parameterization.add_noise(x0, parameterization.to_eps(prediction, x_t, timestep), following)


def last_timestep(prior: MultiViewPrior) -> int:
    """The noisiest."""
    return prior.parameterization.num_timesteps - 1


def latent_shape(prior: MultiViewPrior, condition: Condition) -> torch.Size:
    """[1, V, C, T, h, w] of what ``condition`` asks for: of the given pictures [1, V, C, h, w], or else of grey."""
    clip, picture = prior.clip, condition.picture
    if picture is not None and picture.dim() == 5:
        one, views, channels, height, width = picture.shape
        return torch.Size((one, views, channels, clip.num_frames, height, width))
    grey = torch.full((prior.num_views, clip.num_frames, clip.height, clip.width, 3), 0.5, device=_device(condition))
    return prior.encode(grey).shape


def _device(condition: Condition) -> torch.device | None:
    for tensor in (condition.picture, condition.text.states):
        if tensor is not None:
            return tensor.device
    return None
