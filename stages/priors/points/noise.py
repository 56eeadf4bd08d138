"""Noise over a body: part of it varies smoothly from point to point, part from each point to the next.

Trajectories of neighbouring points are alike. White noise would be averaged away by looking at a neighbourhood, however
strong; smooth noise alone would leave what is rough about a motion in plain sight. So it is both: random fields of two
lengths, as sums of random waves (random Fourier features, Rahimi and Recht 2007), and a share of white noise.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LENGTHS = (0.7, 0.25)
"""Over which the smooth fields vary, in half sides of the box. [ours]"""

SHARES = (0.4, 0.3, 0.3)
"""Of the variance: the two fields, and white noise. [ours]"""

NUM_WAVES = 128


def body_noise(points: Tensor, channels: int, generator: torch.Generator) -> Tensor:
    """Noise [B, channels, N] of variance 1 at ``points`` [B, N, 3]."""
    batch, count, _ = points.shape
    total = torch.zeros(batch, channels, count)
    for length, share in zip(LENGTHS, SHARES, strict=False):
        waves = torch.randn(batch, 3, NUM_WAVES, generator=generator) / length
        phase = 2.0 * math.pi * torch.rand(batch, 1, NUM_WAVES, generator=generator)
        features = math.sqrt(2.0 / NUM_WAVES) * torch.cos(points.cpu().float() @ waves + phase)  # [B, N, M]
        weights = torch.randn(batch, NUM_WAVES, channels, generator=generator)
        total += math.sqrt(share) * (features @ weights).transpose(1, 2)
    total += math.sqrt(SHARES[-1]) * torch.randn(total.shape, generator=generator)
    return total.to(points)


def covariance(points: Tensor) -> Tensor:
    """The covariance [N, N] of one channel of ``body_noise`` at ``points`` [N, 3], in the limit of many waves."""
    squares = torch.cdist(points, points).square()
    total = SHARES[-1] * torch.eye(len(points)).to(points)
    for length, share in zip(LENGTHS, SHARES, strict=False):
        total = total + share * torch.exp(squares / (-2.0 * length**2))
    return total
