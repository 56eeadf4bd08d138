"""Where the prior predicts that pixels go: a second target beside the score. [ours]

The score says how a clip should *look*. At the noise at which motion is decided that is a blur: legs that are about to
swing fade, and a faded leg pulls a Gaussian nowhere. A prior that was taught where the pixels of the picture go knows
more than it can paint. Its pixel flow is compared with that of the moved asset, seen from the same camera; nothing has
to be found through edges, so a limb is pulled along its way however far that leads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.objectives.guidance import guide
from stages.priors.prior import Condition, Observation, PixelFlowPrior


@torch.no_grad()
def predicted_pair(
    prior: PixelFlowPrior,
    latents: Tensor,  # [1, C, T, h, w] clean
    eps: Tensor,  # [1, C, T, h, w] standard normal
    timestep: int,
    condition: Condition,
    negative: Condition,
) -> Tensor:  # [2, T, H, W, 2]
    """The pixel flows that the prior predicts at ``x_t = alpha x + sigma eps`` for ``negative`` and ``condition``."""
    x_t = prior.parameterization.add_noise(latents, eps, timestep)
    both = x_t.expand(2, *x_t.shape[1:])
    flows = prior.predict_pixel_flow(both, timestep, Condition.stack([negative, condition]))
    return torch.nan_to_num(flows).permute(0, 2, 3, 4, 1)


def guided_pixel_flow(pair: Tensor, guidance: float) -> Tensor:
    """The pixel flow [..., T, H, W, 2] guided away from the negative prompt's, from ``pair`` [..., 2, T, H, W, 2]."""
    uncond, cond = pair.unbind(dim=-5)
    return guide(uncond, cond, guidance)


def pixel_flow_loss(observation: Observation, target: Tensor) -> Tensor:
    """Mean squared error of the observed pixel flow from ``target`` [T, H, W, 2], over the asset's pixels and all
    frames, in squared pixels."""
    assert observation.pixel_flow is not None and observation.alpha is not None
    alpha = observation.alpha.detach()
    return (observation.pixel_flow - alpha * target).square().sum() / alpha.sum().clamp(min=1.0)
