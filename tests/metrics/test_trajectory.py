"""Distances from the true motion that can be worked out by hand, and what phase may and may not change."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from stages.metrics.trajectory import compare, is_loop

BOX = torch.tensor([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 2.0) for z in (0.0, 2.0)])
DIAGONAL = 3.0


def circling(phase: float = 0.0, frames: int = 9) -> Tensor:
    """Every corner goes around a circle of radius 0.3, once."""
    angle = 2 * math.pi * (torch.linspace(0.0, 1.0, frames) + phase)
    path = 0.3 * torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], dim=-1)
    return BOX + path[:, None]


def test_the_truth_itself_is_no_error() -> None:
    found = compare(circling(), circling(), BOX)
    assert found.error == found.ratio == 0.0 and found.shift == 0 and found.shifts == 8
    assert found.cosine == pytest.approx(1.0) and found.amplitude == pytest.approx(1.0)


@pytest.mark.parametrize("shift", [1, 3, 7])
def test_a_loop_is_compared_up_to_its_phase(shift: int) -> None:
    found = compare(circling(shift / 8), circling(), BOX)
    assert found.shift == shift
    assert found.error == pytest.approx(0.0, abs=1e-4) and found.cosine == pytest.approx(1.0, abs=1e-6)


def test_a_known_offset_is_its_length() -> None:
    aside = torch.tensor([0.0, 0.0, 0.12])  # across the circle: no phase makes up for it
    assert compare(circling(2 / 8) + aside, circling(), BOX).error == pytest.approx(100 * 0.12 / DIAGONAL, rel=1e-4)


def test_standing_still_has_ratio_one() -> None:
    found = compare(BOX.expand(9, -1, -1), circling(), BOX)
    assert found.error == pytest.approx(100 * 0.3 / DIAGONAL, rel=1e-5)
    assert found.ratio == pytest.approx(1.0) and found.cosine == 0.0 and found.amplitude == 0.0


def test_half_the_motion() -> None:
    found = compare(0.5 * (circling() + BOX), circling(), BOX)
    assert found.ratio == pytest.approx(0.5, rel=1e-5) and found.cosine == pytest.approx(1.0, abs=1e-6)
    assert found.amplitude == pytest.approx(0.5, rel=1e-5)


def test_the_other_way_round_is_not_the_truth() -> None:
    assert compare(circling().flip(0) + 0.0, circling(), BOX).ratio > 0.5


def test_what_is_no_loop_is_compared_frame_by_frame() -> None:
    going = BOX + torch.linspace(0.0, 0.6, 9)[:, None, None]
    assert not is_loop(going) and is_loop(circling())
    later = torch.cat([going[1:], going[-1:]])
    found = compare(later, going, BOX)
    assert found.shifts == 1 and found.error > 0.0
