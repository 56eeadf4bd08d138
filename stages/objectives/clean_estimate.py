"""Score distillation on the clean estimate: 4D-SDS (Animate3D, section 3.3, Eq. 8).

    L = 1/2 |z - x0_hat|^2,   x0_hat of z_t = alpha z + sigma eps,   t in [.02, .2]

as in MVDream (Shi et al. 2023, Eq. 5). The estimate is guided; as guidance inflates contrast, its deviation is drawn
back towards that of the unguided one by a share (``rescale``; Lin et al. 2023). Frame 0 is left out: it is given.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.objectives.guidance import guide
from stages.priors.prior import Condition, Prior


@torch.no_grad()
def clean_estimate(
    prior: Prior,
    latents: Tensor,  # [1, ..., T, h, w]
    eps: Tensor,  # shaped as ``latents``
    timestep: int,
    condition: Condition,
    negative: Condition,
    *,
    guidance: float,
    rescale: float,
) -> Tensor:  # shaped as ``latents``
    """``x0_hat`` of the noisy ``latents``, guided and rescaled."""
    parameterization = prior.parameterization
    x_t = parameterization.add_noise(latents, eps, timestep)
    if guidance == 1.0:
        return torch.nan_to_num(parameterization.to_x0(prior.predict(x_t, timestep, condition), x_t, timestep))
    both = x_t.expand(2, *x_t.shape[1:])
    uncond, cond = prior.predict(both, timestep, Condition.stack([negative, condition])).chunk(2)
    plain = parameterization.to_x0(cond, x_t, timestep)
    guided = parameterization.to_x0(guide(uncond, cond, guidance), x_t, timestep)
    drawn_back = guided * (plain.std() / guided.std().clamp(min=1e-6))
    return torch.nan_to_num(guided + rescale * (drawn_back - guided))


def clean_loss(latents: Tensor, estimate: Tensor) -> Tensor:
    """Half the mean squared distance of ``latents`` [1, ..., T, h, w] from ``estimate``, frame 0 left out."""
    return 0.5 * (latents - estimate)[..., 1:, :, :].square().mean()
