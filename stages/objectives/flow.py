"""Where the prior says that pixels go: a second target beside the score. [ours]

The score says how a clip should *look*. At the noise at which motion is decided that is a blur: legs that are about to
swing fade, and a faded leg pulls a Gaussian nowhere. A prior that was taught where the pixels of the picture go knows
more than it can paint. Its flow is compared with that of the moved asset, seen from the same camera; nothing has to be
found through edges, so a limb is pulled along its way however far that leads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.objectives.guidance import guide
from stages.priors.prior import FlowPrior, Text


@torch.no_grad()
def flow_pair(
    prior: FlowPrior,
    latents: Tensor,  # [1, C, T, h, w] clean
    eps: Tensor,  # [1, C, T, h, w] standard normal
    timestep: int,
    text: Text,
    negative: Text,
    image_latents: Tensor | None = None,
) -> Tensor:  # [2, T, H, W, 2]
    """The flows that the prior predicts at ``x_t = alpha x + sigma eps`` for ``negative`` and for ``text``."""
    x_t = prior.parameterization.add_noise(latents, eps, timestep)
    both = x_t.expand(2, *x_t.shape[1:])
    flows = prior.predict_flow(both, timestep, Text.stack([negative, text]), image_latents)
    return torch.nan_to_num(flows).permute(0, 2, 3, 4, 1)


def guided_flow(pair: Tensor, guidance: float) -> Tensor:
    """The flow [..., T, H, W, 2] guided away from the negative prompt's, from ``pair`` [..., 2, T, H, W, 2]."""
    uncond, cond = pair.unbind(dim=-5)
    return guide(uncond, cond, guidance)


def flow_loss(
    moves: Tensor,  # [T, H, W, 2] of the moved asset, premultiplied by ``alpha``
    alpha: Tensor,  # [T, H, W, 1] of the asset at rest
    flow: Tensor,  # [T, H, W, 2] where the pixels should be
) -> Tensor:
    """Mean squared error over the asset's pixels and all frames, in squared pixels."""
    alpha = alpha.detach()
    return (moves - alpha * flow).square().sum() / alpha.sum().clamp(min=1.0)
