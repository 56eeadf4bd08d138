"""Deterministic denoising: samples from noise, and repairs of a clip that is not quite right (SDEdit)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from stages.objectives.guidance import guided, guided_prediction
from stages.objectives.inversion import inversion_timesteps
from stages.priors.prior import (
    Condition,
    FlowMapPrior,
    MultiViewPrior,
    Prior,
    VideoPrior,
    is_flow_map,
    makes_videos,
)
from stages.priors.sampling import SamplingDefaults, sampling_ladder


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
def sample_video(
    prior: VideoPrior | MultiViewPrior,
    condition: Condition,  # of one prompt
    negative: Condition | None,  # the null prompt, or what to move away from; None: no guidance
    generator: torch.Generator,
    *,
    like: Tensor | None = None,  # [1, C, t, h, w], or [1, V, C, t, h, w] of V views: gives the shape and device
    how: SamplingDefaults | None = None,
    report: Callable[[int, int], None] = lambda done, steps: None,
) -> Tensor:  # shaped as ``like``, clean
    """A clip out of noise, in the steps and with the guidance that the prior's makers sample it with, or as ``how``.

    Every step goes to the clean estimate and from there to the next timestep: with the noise that was there (DDIM,
    Song et al. 2021, Eq. 12 at eta 0; for a flow model that is Euler's step on its ODE), or with new noise of
    ``generator`` where the model was distilled for that (``renoise``; Song et al. 2023, Algorithm 1). The makers of
    the models that are not distilled take solvers of higher order (UniPC, DPM); the same steps of this one are a
    little less exact.

    A flow map (``FlowMapPrior``) is told where each step ends; its mean velocity makes Euler's step exact.

    ``like`` None: the shape is that of a grey clip's latents, which is encoded to find it out (``VideoPrior`` only).
    All that is random comes from ``generator``. ``report(done, steps)`` is called after every step.

    Raises:
        BadInput: ``how`` has noise levels or a shift, and the prior is not a flow model.
    """
    how, parameterization = how or prior.sampling, prior.parameterization
    ladder = sampling_ladder(parameterization, how)
    if like is None:
        assert makes_videos(prior), "what latents of V views look like must be said"
        like = _grey_latents(prior, condition)
    x = prior.noise(like, condition, generator)
    for done, (current, following) in enumerate(zip(ladder, [*ladder[1:], -1], strict=True), start=1):
        predict = partial(_towards, prior, following) if is_flow_map(prior) else prior.predict
        if negative is None or how.guidance == 1.0:
            prediction = predict(x, current, condition)
        else:
            prediction = guided(predict, x, current, condition, negative, how.guidance)
        x0 = parameterization.to_x0(prediction, x, current)
        if how.renoise and following >= 0:
            noise = prior.noise(like, condition, generator)
        else:
            noise = parameterization.to_eps(prediction, x, current)
        x = parameterization.add_noise(x0, noise, following)
        report(done, len(ladder))
    return x


def _towards(prior: FlowMapPrior, following: int, latents: Tensor, timestep: int, condition: Condition) -> Tensor:
    return prior.predict_towards(latents, timestep, following, condition)


def _grey_latents(prior: VideoPrior, condition: Condition) -> Tensor:
    """Latents of a grey clip, on the device of what the prior is told."""
    told = [tensor for tensor in (condition.picture, condition.text.states) if tensor is not None]
    grey = torch.full((1, prior.clip.height, prior.clip.width, 3), 0.5)
    return prior.encode_still(grey.to(told[0].device) if told else grey)


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
