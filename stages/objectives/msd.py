"""Motion Score Distillation (Animus3D, Eq. 4-7): the difference of two scores, one of which knows only stillness.

The paper subtracts the two predictions of noise. That is the difference of two clean estimates only where both noisy
clips hold the *same* noise. Inverted noise is not the same: each branch is inverted from its own clip, under its own
words, by a few coarse steps. At high noise, where motion is decided, what the two noises differ by is several times
what the estimates differ by (measured on the embedded prior, a deer about to walk, timestep 980: cosine of the score
with the true motion 0.14, against 0.70 for the clean estimate alone). So each prediction is taken here relative to the
noise that its own noisy clip holds [ours]::

    (eps_theta(x^d_t, c) - n^d) - (eps_lora(x^s_t, c') - n^s),   n = (x_t - alpha x) / sigma

which is ``alpha / sigma`` times ``(x^d - x0_hat^d) - (x^s - x0_hat^s)``, and equals the paper's Eq. 5 when the noises
are equal. ``own_noise=False`` gives the paper's, which is the better one where the prior allows many phases of a motion
and its score is exact: on ``make bench-exact`` it ends at a distance ratio of 0.33, own noise at 0.90 (seed 0, five
inversion steps).

One formulation serves models that predict eps, v or flow. Whatever a model says of ``x_t = alpha x + sigma eps`` is,
with ``x_t`` known, an affine function of the noise it believes in (``stages.priors.parameterization``): eps itself;
``v = alpha eps - sigma x``, where ``eps = (sigma x_t + alpha v) / (alpha^2 + sigma^2)``; ``flow = eps - x``, where
``eps = (x_t + alpha flow) / (alpha + sigma)``. Both branches are turned into eps and subtracted there. Guidance, an
affine combination whose weights sum to one, gives the same before as after. Inversion steps along the model's own ODE,
``x_s = alpha_s x0_hat + sigma_s eps_hat``, which is DDIM for variance-preserving schedules and an Euler step of the
straight path's velocity for ``alpha = 1 - sigma``. For a model that predicts eps all this is the paper's Eq. 5.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from stages.objectives.guidance import guided_prediction
from stages.objectives.inversion import ddim_invert
from stages.priors.lora import adapter_on
from stages.priors.parameterization import Parameterization
from stages.priors.prior import Condition, Observation, Prior


def weight(parameterization: Parameterization, timestep: int) -> float:
    """``w(t) = 1 - abar_t = sigma_t^2`` (4D-fy, Animate124; the paper does not state its own)."""
    return float(parameterization.sigmas[timestep] ** 2)


@torch.no_grad()
def static_score(
    prior: Prior,
    static_latents: Tensor,  # [1, C, T, h, w] the static asset, one camera, repeated T times
    timestep: int,
    condition: Condition,  # under the static prompt
    *,
    inversion_steps: int,
    start_noise: Tensor | None = None,  # see ``ddim_invert``; the same for both branches unless own_noise
    own_noise: bool = True,
    adapted: bool = True,
) -> Tensor:  # [1, C, T, h, w]
    """``eps_lora(x^s_t, t, c')`` with x^s_t inverted under c' by the adapted model, relative to the noise in x^s_t.

    Depends on the camera and the timestep but not on the motion: a stage computes it once for each pair and keeps it.
    Not ``adapted`` it is the plain model's, which knows only from the prompt that nothing is to move (the paper's
    ablation of the LoRA).
    """
    with adapter_on(prior.denoiser) if adapted else nullcontext():
        x_t = ddim_invert(prior, static_latents, timestep, condition, inversion_steps, start_noise)
        prediction = prior.predict(x_t, timestep, condition)
    eps = prior.parameterization.to_eps(prediction, x_t, timestep)
    return eps - noise_in(prior.parameterization, x_t, static_latents, timestep) if own_noise else eps


@torch.no_grad()
def msd_gradient(
    prior: Prior,
    moving_latents: Tensor,  # [1, C, T, h, w]
    static_eps: Tensor,  # [1, C, T, h, w] from static_score
    timestep: int,
    condition: Condition,
    negative: Condition,
    *,
    guidance: float,
    inversion_steps: int,
    start_noise: Tensor | None = None,  # see ``ddim_invert``; the same for both branches unless own_noise
    own_noise: bool = True,  # as ``static_eps`` was made
) -> Tensor:  # [1, C, T, h, w]
    """``w(t) (eps_theta(x^d_t, t, c) - eps_lora(x^s_t, t, c'))`` with x^d_t inverted under c, guidance on the first;
    with ``own_noise`` each relative to the noise in its own clip."""
    x_t = ddim_invert(prior, moving_latents, timestep, condition, inversion_steps, start_noise)
    prediction = guided_prediction(prior, x_t, timestep, condition, negative, guidance)
    moving_eps = prior.parameterization.to_eps(prediction, x_t, timestep)
    if own_noise:
        moving_eps = moving_eps - noise_in(prior.parameterization, x_t, moving_latents, timestep)
    return finite(weight(prior.parameterization, timestep) * (moving_eps - static_eps))


def noise_in(parameterization: Parameterization, x_t: Tensor, x0: Tensor, timestep: int) -> Tensor:
    """The noise with which ``x0`` becomes ``x_t``."""
    alpha, sigma = parameterization.alpha_sigma(timestep, x_t)
    return (x_t - alpha * x0) / sigma


def finite(gradient: Tensor) -> Tensor:
    """NaN and infinities become zero: one bad value must not reach the optimiser's memory."""
    return torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)


def distillation_loss(observation: Observation, gradient: Tensor) -> Tensor:
    """A scalar whose derivative with respect to the observation's latents is ``gradient`` over their number.

    With ``target = stopgrad(latents - gradient)``, d/dlatents of ``0.5 |latents - target|^2`` is ``latents - target``,
    which equals ``gradient``. The value itself, half the mean square of the gradient, is worth logging.
    """
    latents = observation.latents
    assert latents is not None
    target = (latents - gradient).detach()
    return 0.5 * (latents - target).square().mean()
