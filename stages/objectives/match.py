"""Matching: the motion follows a sample that the prior has drawn."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.priors.prior import Observation

EPSILON = 0.03
"""Where the distance turns from square to linear, in units of latents."""


def match_loss(observation: Observation, target: Tensor) -> Tensor:
    """Distance of the observed latents from ``target``, a mean over all of them. Linear but near 0 (Charbonnier):
    points that cannot follow do not outvote those that can."""
    latents = observation.latents
    assert latents is not None and latents.shape == target.shape
    return ((latents - target).square() + EPSILON**2).sqrt().mean() - EPSILON


def consensus(samples: Tensor) -> Tensor:
    """The one of ``samples`` [B, ...] that is nearest to the others, [1, ...]: of several the least unusual."""
    if len(samples) == 1:
        return samples
    away = torch.cdist(samples.flatten(1), samples.flatten(1)).sum(dim=1)
    return samples[away.argmin()][None]
