"""Motion metrics on motions whose values are known."""

from __future__ import annotations

import math

import pytest
import torch

from stages.metrics.motion import jerk, motion_amplitude, neighbour_distance_change

CUBE = torch.tensor([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 1.0) for z in (0.0, 1.0)])
DIAGONAL = math.sqrt(3.0)
NEIGHBOURS = torch.stack([torch.cat([torch.arange(i), torch.arange(i + 1, 8)]) for i in range(8)])


def test_amplitude_is_the_farthest_point_of_the_path() -> None:
    path = torch.tensor([0.0, 0.3, 0.6, 0.2])[:, None, None] * torch.tensor([1.0, 0.0, 0.0])
    assert motion_amplitude(CUBE + path, CUBE) == pytest.approx(100 * 0.6 / DIAGONAL, rel=1e-5)
    assert motion_amplitude(CUBE.expand(4, -1, -1), CUBE) == 0.0


def test_jerk_sees_only_the_third_derivative() -> None:
    t = torch.linspace(0.0, 1.0, 9)[:, None, None] * torch.tensor([1.0, 0.0, 0.0])
    assert jerk(CUBE + 2 * t + 3 * t**2, CUBE) == pytest.approx(0.0, abs=1e-3)
    assert jerk(CUBE + t**3, CUBE) == pytest.approx(6.0 / DIAGONAL, rel=1e-3)  # x''' = 6
    assert jerk(CUBE.expand(3, -1, -1), CUBE) == 0.0


def test_neighbour_distances_hold_under_rigid_motion_and_grow_with_scale() -> None:
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    moved = (CUBE @ turn.T + 5.0)[None]
    assert neighbour_distance_change(moved, CUBE, NEIGHBOURS) == pytest.approx(0.0, abs=1e-3)
    assert neighbour_distance_change(1.25 * CUBE[None], CUBE, NEIGHBOURS) == pytest.approx(25.0, rel=1e-5)
