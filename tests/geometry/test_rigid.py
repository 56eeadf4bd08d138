"""Neighbourhoods that move rigidly are found exactly, and restless paths become quieter."""

from __future__ import annotations

import math

import torch

from stages.geometry.rigid import Near, kept_rigid, neighbourhood_turns
from stages.geometry.rotations import quaternion_matrices


def points(count: int = 60) -> torch.Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0


def turned(rest: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two rotations [2, 3, 3] and ``rest`` turned by them and moved on, [2, N, 3]."""
    turns = quaternion_matrices(torch.tensor([[math.cos(0.4), 0.0, math.sin(0.4), 0.0], [0.2, 0.9, 0.1, 0.3]]))
    return turns, rest @ turns.transpose(1, 2) + torch.tensor([0.3, -0.2, 0.5])


def test_a_rigid_motion_is_found_and_left_as_it_is() -> None:
    rest = points()
    turns, moved = turned(rest)
    found = neighbourhood_turns(Near.of(rest, rest, 12, sharpness=1.0), rest, moved)[2]
    assert float((found - turns[:, None]).abs().max()) < 0.03  # the ridge leans towards no rotation
    kept = kept_rigid(rest, moved - rest)
    assert float((kept - (moved - rest)).norm(dim=-1).mean()) < 0.02 * float((moved - rest).norm(dim=-1).mean())


def test_nothing_moves_where_nothing_moved() -> None:
    rest = points()
    assert float(kept_rigid(rest, torch.zeros(3, 60, 3)).abs().max()) < 1e-6


def test_noise_of_neighbours_is_less_and_distances_change_less() -> None:
    rest = points(200)
    moved = turned(rest)[1]
    noise = 0.05 * torch.randn(moved.shape, generator=torch.Generator().manual_seed(1))
    kept = rest + kept_rigid(rest, moved + noise - rest)
    assert float((kept - moved).norm(dim=-1).mean()) < 0.5 * float(noise.norm(dim=-1).mean())


def test_few_points_and_points_on_a_line_are_no_trouble() -> None:
    line = torch.tensor([[float(x), 0.0, 0.0] for x in range(5)])
    for rest in (line, line[:1], torch.zeros(4, 3)):
        moves = torch.full((2, len(rest), 3), 0.25)
        torch.testing.assert_close(kept_rigid(rest, moves), moves, rtol=1e-3, atol=1e-3)


def test_what_hangs_beside_the_body_may_leave_it() -> None:
    """An arm along a trunk rises while the trunk stays: their nearest points at rest are each other's."""
    height = torch.linspace(0.0, 1.0, 40)
    trunk, arm = (torch.stack([torch.full((40,), x), height, torch.zeros(40)], dim=1) for x in (0.0, 0.05))
    rest = torch.cat([trunk, arm])
    moves = torch.zeros(4, 80, 3)
    for frame, angle in enumerate((0.0, 0.5, 1.0, 1.5)):  # about the shoulder, at the top
        turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        away = arm[:, :2] - arm[-1, :2]
        moves[frame, 40:, :2] = away @ turn.T - away
    kept = kept_rigid(rest, moves)
    hand, hip = kept[-1, 40], kept[-1, 0]
    assert float((hand - moves[-1, 40]).norm()) < 0.1 * float(moves[-1, 40].norm())
    assert float(hip.norm()) < 0.05


def test_what_lies_between_two_sides_follows_one() -> None:
    """A hand beside a hip: all neighbours of what lies nearest to the hand are of the hand, and weigh no less."""
    hip, hand = (torch.stack([torch.full((9,), x), torch.arange(9) * 0.1, torch.zeros(9)], dim=1) for x in (0.0, 0.1))
    ways = torch.zeros(18, 6)
    between = torch.tensor([[0.06, 0.42, 0.0], [0.04, 0.42, 0.0]])
    both = Near.of_one_side(between, torch.cat([hip, hand]), ways, 4, sharpness=3.0)
    plain = Near.of(between, torch.cat([hip, hand]), 4, sharpness=3.0)
    assert torch.equal(both.indices, plain.indices)  # where nothing moves there are no sides
    torch.testing.assert_close(both.weights, plain.weights)
    assert (both.indices < 9).any(dim=1).all() and (both.indices >= 9).any(dim=1).all()
    ways[9:] = 1.0
    sides = Near.of_one_side(between, torch.cat([hip, hand]), ways, 4, sharpness=3.0)
    assert (sides.indices[0] >= 9).all() and (sides.indices[1] < 9).all()
    torch.testing.assert_close(sides.weights.sum(dim=1), torch.ones(2))


def test_neighbours_are_as_many_as_there_are() -> None:
    few = torch.zeros(3, 3)
    near = Near.of_one_side(points(), few, torch.zeros(3, 6), 6, sharpness=3.0)
    assert near.indices.shape == (60, 3)
    torch.testing.assert_close(near.weights, torch.full((60, 3), 1.0 / 3.0))
