"""Measures of contact on motions whose values are known."""

from __future__ import annotations

import pytest
import torch

from stages.metrics import contact
from stages.skeletons.travel import travel_velocity
from tests.bench import motion_measures

FEET = torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 2.0, 0.0]])
"""Two points on the ground, and one 2 above it."""


def _going(velocity: tuple[float, float, float], num: int = 5, seconds: float = 2.0) -> torch.Tensor:
    return FEET + torch.linspace(0.0, seconds, num)[:, None, None] * torch.tensor(velocity)


def test_slide_is_the_speed_of_what_touches_the_ground() -> None:
    assert contact.foot_slide(_going((3.0, 0.0, 4.0)), 2.0, 2.0) == pytest.approx(2.5)
    assert contact.foot_slide(_going((3.0, 0.0, 4.0)), 2.0, 2.0, in_place=True) == pytest.approx(0.0, abs=1e-5)
    assert contact.foot_slide(_going((0.0, 0.0, 0.0)), 2.0, 2.0) == 0.0
    assert contact.foot_slide(_going((3.0, 0.0, 4.0)), 2.0, 2.0, ground=-1.0) is None
    assert contact.foot_slide(_going((0.0, 9.0, 0.0)), 2.0, 2.0) is None  # on the ground in one frame only


def test_slide_of_a_loop_is_that_of_the_benchmarks() -> None:
    generator = torch.Generator().manual_seed(0)
    moves = 0.3 * torch.randn(6, 3, 3, generator=generator)
    moves[:, :2, 1] = 0.0
    closed = torch.cat([FEET + moves, (FEET + moves)[:1]])
    expected = motion_measures.foot_slide(FEET, moves, 1.5)
    assert contact.foot_slide(closed, 1.5, 2.0, in_place=True) == pytest.approx(expected, rel=1e-4)


def test_travel_is_what_takes_the_slide_away() -> None:
    points = _going((0.5, 0.0, -1.0))
    points[2:, :, 1] += 0.7  # a clip may float: each frame stands on its own lowest point
    velocity = travel_velocity(points, 2.0, 2.0)
    torch.testing.assert_close(velocity, torch.tensor([-0.5, 0.0, 1.0]), atol=1e-5, rtol=0)
    steps = FEET[:2].repeat(2, 1, 1)
    steps[0, 0, 1] = steps[1, 1, 1] = 1.0  # no point touches the ground in two frames running
    assert travel_velocity(steps, 1.0, 2.0).tolist() == [0.0, 0.0, 0.0]


def test_depth_and_height_of_the_lowest_point() -> None:
    points = FEET + torch.tensor([0.0, -0.1, 0.3, -0.02])[:, None, None] * torch.tensor([0.0, 1.0, 0.0])
    mean, most = contact.penetration(points, 0.0, 2.0)
    assert mean == pytest.approx(0.12 / 4 / 2) and most == pytest.approx(0.05)
    assert contact.floating(points, 0.0, 2.0) == pytest.approx(0.3 / 4 / 2)
    assert contact.contact_share(points, 0.0, 2.0) == pytest.approx(0.75)


def test_jerk_is_the_third_derivative() -> None:
    t = torch.linspace(0.0, 2.0, 9, dtype=torch.float64)[:, None, None]
    line = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    assert contact.jerk(FEET + t**3 * line, 2.0, 2.0) == pytest.approx(3.0)  # 6 over the height
    assert contact.jerk(FEET + t**2 * line, 2.0, 2.0) == pytest.approx(0.0, abs=1e-9)
    assert contact.jerk((FEET + t * line)[:3], 2.0, 2.0) == 0.0


def test_bone_lengths() -> None:
    rest = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 3.0, 0.0]])
    moved = torch.stack([rest, 1.1 * rest, rest + 5.0])
    assert contact.bone_length_error(moved, rest, (-1, 0, 1)) == pytest.approx(0.1 / 3, rel=1e-5)
    assert contact.bone_length_error(moved, rest, (-1, -1, -1)) == 0.0
