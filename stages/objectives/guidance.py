"""Classifier-free guidance: one formula in the whole project."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from stages.priors.prior import Condition, Prior

Predict = Callable[[Tensor, int, Condition], Tensor]
"""As ``Prior.predict``."""


def guide(uncond: Tensor, cond: Tensor, scale: float) -> Tensor:
    """``uncond + s (cond - uncond)``, so that s = 1 returns cond (diffusers' convention; 4D-fy's scale is ours - 1)."""
    return uncond + scale * (cond - uncond)


def guided_prediction(
    prior: Prior,
    latents: Tensor,  # [1, C, T, h, w] noisy
    timestep: int,
    condition: Condition,  # of one prompt
    negative: Condition,  # likewise: the null prompt, or what to move away from
    scale: float,
) -> Tensor:  # [1, C, T, h, w]
    """The prediction for ``condition``, guided away from ``negative``, see ``guide``.

    Both halves go through the model as one batch; at s = 1 only the conditional half is computed.
    """
    return guided(prior.predict, latents, timestep, condition, negative, scale)


def guided(
    predict: Predict, latents: Tensor, timestep: int, condition: Condition, negative: Condition, scale: float
) -> Tensor:
    """As ``guided_prediction``, of whatever predicts as a prior does."""
    if scale == 1.0:
        return predict(latents, timestep, condition)
    both = latents.expand(2, *latents.shape[1:])
    uncond, cond = predict(both, timestep, Condition.stack([negative, condition])).chunk(2)
    return guide(uncond, cond, scale)
