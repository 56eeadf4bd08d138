"""The measures of motions, on motions whose measure is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from stages.skeletons.travel import geometric_median
from tests.bench.motion_measures import compare, foot_slide, in_phase, spread, stretching


def _points(count: int = 300) -> Tensor:
    return 2.0 * torch.rand(count, 3, generator=torch.Generator().manual_seed(0)) - 1.0


def _swing(points: Tensor, frames: int = 16, phase: float = 0.0) -> Tensor:
    """A loop [T, N, 3] in which points swing, those to the left after those to the right."""
    times = torch.arange(frames) / frames
    angle = 2.0 * math.pi * (times[:, None] + phase) + points[:, 0]
    return torch.stack([0.1 * angle.sin(), 0.05 * (2.0 * angle).cos(), 0.0 * angle], dim=-1)


def test_a_loop_that_begins_later_is_the_same_motion() -> None:
    points = _points()
    truth, later = _swing(points), _swing(points, phase=0.37)
    assert compare(truth, truth, cyclic=False)["cosine"] == pytest.approx(1.0, abs=1e-5)
    assert compare(later, truth, cyclic=False)["cosine"] < 0.5
    found = compare(later, truth, cyclic=True)
    assert found["cosine"] > 0.999 and found["distance_ratio"] < 0.05
    assert compare(truth.roll(5, dims=0), truth, cyclic=True)["cosine"] == pytest.approx(1.0, abs=1e-4)
    assert torch.allclose(in_phase(truth.roll(5, dims=0), truth), truth, atol=1e-4)


def test_half_as_far_and_the_other_way() -> None:
    truth = _swing(_points())
    half = compare(0.5 * truth, truth, cyclic=False)
    assert half["cosine"] == pytest.approx(1.0, abs=1e-5)
    assert half["amplitude"] == pytest.approx(0.5, abs=1e-5) == half["distance_ratio"]
    assert compare(-truth, truth, cyclic=False)["cosine"] == pytest.approx(-1.0, abs=1e-5)
    still = compare(torch.zeros_like(truth), truth, cyclic=True)
    assert still["amplitude"] == 0.0 and still["distance_ratio"] == pytest.approx(1.0)


def test_samples_that_differ_in_phase_alone_are_the_same_loop() -> None:
    points = _points()
    loops = torch.stack([_swing(points, phase=phase) for phase in (0.0, 0.25, 0.6)])
    assert spread(loops, cyclic=True) < 0.05 < 0.5 < spread(loops, cyclic=False)


def test_what_turns_as_one_does_not_stretch() -> None:
    points = _points()
    turn = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    one_bone = torch.ones(len(points), 1)
    assert stretching(points, (points @ turn.T - points)[None], one_bone) < 1e-5
    assert stretching(points, 0.2 * points[None], one_bone) == pytest.approx(0.2, abs=1e-4)
    halves = torch.nn.functional.one_hot((points[:, 0] > 0.0).long(), 2).float()
    apart = (halves[:, 1:] * torch.tensor([0.5, 0.0, 0.0]))[None]
    assert stretching(points, apart, halves) > 0.01 and stretching(points, apart, halves, within=True) < 1e-5
    shared = torch.full((len(points), 2), 0.5)
    assert stretching(points, 0.2 * points[None], shared) == 0.0, "nothing is part of one bone"


def test_a_body_that_walks_on_the_spot_does_not_slide() -> None:
    """Feet on a belt of constant speed: two of them take turns, each back through the air."""
    frames = 48
    ground = torch.tensor([[0.2, -1.0, 0.0], [-0.2, -1.0, 0.0], [0.0, 1.0, 0.0]])
    share = (torch.arange(frames)[:, None] / frames + torch.tensor([0.0, 0.5])) % 1.0
    down = share < 0.6
    along = torch.where(down, 0.3 - share, -0.3 + 1.5 * (share - 0.6))
    lifted = torch.where(down, torch.zeros_like(share), 0.3 * (math.pi * (share - 0.6) / 0.4).sin() + 0.05)
    moves = torch.zeros(frames, 3, 3)
    moves[:, :2, 1], moves[:, :2, 2] = lifted, along
    assert foot_slide(ground, moves, seconds=2.0) == pytest.approx(0.0, abs=1e-4)
    shaken = moves.clone()
    shaken[::2, :2, 0] += 0.05
    assert (foot_slide(ground, shaken, seconds=2.0) or 0.0) > 0.3


def test_half_of_the_points_outvote_the_rest() -> None:
    points = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [9.0, 5.0]], dtype=torch.float64)
    assert torch.allclose(geometric_median(points), points[0], atol=1e-6)
