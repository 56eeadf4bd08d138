"""What VBench (Huang et al. 2024) measures of a video, from features, frames or flow, whichever network gave them."""

from __future__ import annotations

import torch
from torch import Tensor

SUBJECT_WEIGHTS = (0.4, 0.3, 0.3)
"""Of the best similarity to the input, the mean and the least similarity of consecutive frames."""

FASTEST = 0.05
"""Share of the pixels that say how fast a frame moves."""


def mean_cosine(features: Tensor, other: Tensor) -> float:
    """Mean cosine between ``features`` [V, T, D] and what they are compared with, [V, 1, D] or [D]."""
    return float(torch.nn.functional.cosine_similarity(features.double(), other.double(), dim=-1).mean())


def i2v_subject(frames: Tensor, still: Tensor) -> float:
    """How well the subject of the input is kept, in [0, 1]: mean over views of features ``frames`` [V, T, D], ``still``
    [V, D]."""
    cosine = torch.nn.functional.cosine_similarity
    to_input = cosine(frames.double(), still.double()[:, None], dim=-1).clamp(min=0.0)
    consecutive = cosine(frames[:, 1:].double(), frames[:, :-1].double(), dim=-1).clamp(min=0.0)
    best, mean, least = SUBJECT_WEIGHTS
    return float((best * to_input.amax(1) + mean * consecutive.mean(1) + least * consecutive.amin(1)).mean())


def smoothness(odd: Tensor, interpolated: Tensor) -> float:
    """(255 - mean abs difference) / 255 of the odd frames and what was put in their place, [..., H, W, 3] in [0, 1]."""
    return 1.0 - float((odd - interpolated).abs().mean())


def is_dynamic(flow: Tensor) -> bool:
    """Whether a video moves, from the flow [T - 1, H, W, 2], in pixels, between its frames.

    The mean speed of the fastest 5 % of the pixels must exceed 6 * min(H, W) / 256 in round(T / 4) of the T - 1 steps,
    at least one. That is VBench's rule for 8 frames a second.
    """
    steps, height, width = flow.shape[:3]
    speed = flow.norm(dim=-1).reshape(steps, -1)
    fastest = speed.topk(max(1, int(FASTEST * height * width)), dim=1).values.mean(dim=1)
    moving = int((fastest > 6.0 * min(height, width) / 256.0).sum())
    return moving >= max(1, round((steps + 1) / 4))
