"""Deterministic denoising: samples from noise, and repairs of a clip that is not quite right (SDEdit)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stages.objectives.guidance import guided_prediction
from stages.objectives.inversion import inversion_timesteps
from stages.priors.prior import Condition, Prior, VideoPrior


@torch.no_grad()
def ddim_denoise(
    prior: Prior,
    x_t: Tensor,  # [1, C, T, h, w] at ``timestep``
    timestep: int,
    condition: Condition,
    num_steps: int,
    *,
    negative: Condition | None = None,
    guidance: float = 1.0,
) -> Tensor:  # [1, C, T, h, w] clean
    """Deterministic denoising from ``timestep`` to clean on the same timesteps: sampling, and half of SDEdit."""
    parameterization = prior.parameterization
    ladder = inversion_timesteps(timestep, num_steps)
    x = x_t
    for current, following in zip(reversed(ladder), [*reversed(ladder[:-1]), -1], strict=True):
        if negative is None or guidance == 1.0:
            prediction = prior.predict(x, current, condition)
        else:
            prediction = guided_prediction(prior, x, current, condition, negative, guidance)
        x0 = parameterization.to_x0(prediction, x, current)
        eps = parameterization.to_eps(prediction, x, current)
        x = parameterization.add_noise(x0, eps, following)
    return x


@torch.no_grad()
def sdedit(
    prior: VideoPrior,
    video: Tensor,  # [T', H, W, 3] in [0, 1]
    picture: Tensor,  # [1, H, W, 3] the asset at rest
    prompt: str,
    noise: Callable[[], torch.Generator],  # a new generator of the same draws each time
    *,
    strength: float,
    num_steps: int,
    guidance: float,
) -> Tensor:
    """``video`` noised to ``strength``, a share of the schedule, and denoised under ``prompt`` (Meng et al. 2022).

    A prior of T frames sees 2T - 1 as two interleaved clips of the same span, even and odd frame times, the odd one
    padded by repeating its last frame; both get the same noise, so that they stay alike. A prior of more frames
    than the video has sees it padded likewise.
    """
    num_frames = prior.clip.num_frames
    seen = prior.encode_picture(picture)
    condition, away = (Condition(text, seen) for text in prior.encode_text([prompt, ""]).split())
    timestep = prior.parameterization.timestep_at(strength)
    repaired = video.clone()
    for chosen in interleaved(video.shape[0], num_frames):
        padded = torch.cat([chosen, chosen[-1:].expand(num_frames - len(chosen))])
        latents = prior.encode(video[padded])
        eps = torch.randn(latents.shape, generator=noise()).to(latents)
        x_t = prior.parameterization.add_noise(latents, eps, timestep)
        x0 = ddim_denoise(prior, x_t, timestep, condition, num_steps, negative=away, guidance=guidance)
        repaired[chosen] = prior.decode(x0)[: len(chosen)]
    return repaired


def interleaved(num_frames: int, clip_frames: int) -> list[Tensor]:
    """Index sets of at most ``clip_frames`` each that together cover ``num_frames``, each of the whole span."""
    num_sets = -(-num_frames // clip_frames)
    return [torch.arange(offset, num_frames, num_sets) for offset in range(num_sets)]
