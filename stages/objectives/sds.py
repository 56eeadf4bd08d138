"""Score Distillation Sampling (DreamFusion, Eq. 3): the baseline that MSD is measured against."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.objectives.guidance import guided_prediction
from stages.objectives.msd import finite, weight
from stages.priors.prior import Condition, Prior


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
) -> Tensor:  # [1, C, T, h, w]
    """``w(t) (eps_theta(x_t, t, c) - eps)`` with ``x_t = alpha x + sigma eps``."""
    x_t = prior.parameterization.add_noise(moving_latents, eps, timestep)
    prediction = guided_prediction(prior, x_t, timestep, condition, negative, guidance)
    return finite(
        weight(prior.parameterization, timestep) * (prior.parameterization.to_eps(prediction, x_t, timestep) - eps)
    )
