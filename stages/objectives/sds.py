"""Score Distillation Sampling (DreamFusion, Eq. 3): the baseline that MSD is measured against, and AKD's objective.

With ``x_t = alpha x + sigma eps = alpha x0_hat + sigma eps_hat`` the two forms below differ by a factor alone::

    eps:  sigma^2 (eps_hat - eps) = sigma alpha (x - x0_hat)      DreamFusion, with w(t) = sigma^2
    x0:   sigma^2 (x - x0_hat)                                    AKD, for a model that predicts v

so ``x0`` is ``sigma / alpha`` times ``eps``. Where a schedule ends in pure noise, alpha is 0 at its end: every
predicted noise is the noise itself there and the first form is 0, while a prediction of v still holds a clean estimate.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from stages.objectives.guidance import guided_prediction
from stages.objectives.msd import finite, weight
from stages.priors.prior import Condition, Prior

SdsForm = Literal["eps", "x0"]


@torch.no_grad()
def sds_gradient(
    prior: Prior,
    moving_latents: Tensor,  # [1, C, T, h, w]
    eps: Tensor,  # [1, C, T, h, w] standard normal
    timestep: int,
    condition: Condition,
    negative: Condition,
    *,
    guidance: float,
    form: SdsForm = "eps",
) -> Tensor:  # [1, C, T, h, w]
    """``w(t) (eps_theta(x_t, t, c) - eps)``, or ``w(t) (x - x0_theta(x_t, t, c))``; ``x_t = alpha x + sigma eps``."""
    parameterization = prior.parameterization
    x_t = parameterization.add_noise(moving_latents, eps, timestep)
    prediction = guided_prediction(prior, x_t, timestep, condition, negative, guidance)
    if form == "x0":
        residual = moving_latents - parameterization.to_x0(prediction, x_t, timestep)
    else:
        residual = parameterization.to_eps(prediction, x_t, timestep) - eps
    return finite(weight(parameterization, timestep) * residual)
