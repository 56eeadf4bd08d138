"""VBench's measures on features, frames and flow whose values can be worked out by hand."""

from __future__ import annotations

import pytest
import torch

from stages.metrics.video import i2v_subject, is_dynamic, mean_cosine, smoothness

X, Y = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
BETWEEN = (X + Y) / 2**0.5


def test_cosines_see_directions_only() -> None:
    frames = torch.stack([X, 3 * X, BETWEEN])[None]
    assert mean_cosine(frames, X) == pytest.approx((2 + 0.5**0.5) / 3)
    assert mean_cosine(frames, frames) == pytest.approx(1.0)


def test_subject_of_a_still_film_is_one() -> None:
    assert i2v_subject(X.expand(2, 4, 2), X.expand(2, 2)) == pytest.approx(1.0)


def test_subject_weighs_the_best_the_mean_and_the_least() -> None:
    """X, between, Y: to the input X 1, 0.71, 0; consecutive 0.71, 0.71."""
    frames = torch.stack([X, BETWEEN, Y])[None]
    half = 0.5**0.5
    assert i2v_subject(frames, X[None]) == pytest.approx(0.4 + 0.6 * half)
    jump = torch.stack([X, X, Y])[None]
    assert i2v_subject(jump, X[None]) == pytest.approx(0.4 * 1 + 0.3 * 0.5 + 0.3 * 0)
    assert i2v_subject(-frames, X[None]) == pytest.approx(0.6 * half)  # what points away counts as nothing
    two_views = torch.stack([frames[0], jump[0]])
    assert i2v_subject(two_views, X.expand(2, 2)) == pytest.approx((0.4 + 0.6 * half + 0.55) / 2)


def test_smoothness_is_one_less_the_difference() -> None:
    frames = torch.rand(3, 8, 8, 3, generator=torch.Generator().manual_seed(0))
    assert smoothness(frames, frames) == 1.0
    assert smoothness(0.5 * frames, 0.5 * frames + 0.25) == pytest.approx(0.75)


def test_dynamic_needs_speed_in_a_quarter_of_the_steps() -> None:
    """15 steps of 64 px: more than 1.5 px, in the fastest 5 % of the pixels, in four of the steps."""
    flow = torch.zeros(15, 64, 64, 2)
    assert not is_dynamic(flow)
    flow[2:6, :4, :, 0] = 1.6  # 6 % of the pixels
    assert is_dynamic(flow)
    assert is_dynamic(flow.flip(-1))  # whichever way
    assert not is_dynamic(flow / 1.6 * 1.4)
    assert not is_dynamic(torch.cat([flow[:2], 0 * flow[:1], flow[3:]]))  # three steps
    few = torch.zeros(15, 64, 64, 2)
    few[2:6, 0, :, 0] = 1.6  # 1.6 % of the pixels
    assert not is_dynamic(few)
