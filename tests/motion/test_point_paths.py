"""Paths of points: nothing moves at first, Gaussians go along with what is near, loops close, files give them back."""

from __future__ import annotations

import pytest
import torch

from stages.geometry.trajectories import NUM_FUNCTIONS
from stages.motion.kinds import MotionConfig, load_motion, new_motion
from stages.motion.point_paths import PointPaths, PointPathsConfig
from tests.motion.test_hexplane import asset


def moving(cyclic: bool, count: int = 12) -> PointPaths:
    gaussians = asset(60)
    motion = PointPaths(PointPathsConfig(num_points=count), gaussians.means[:count], cyclic=cyclic)
    motion.set_paths(0.1 * torch.randn(count, NUM_FUNCTIONS, 3, generator=torch.Generator().manual_seed(1)))
    return motion


def test_a_new_one_moves_nothing() -> None:
    gaussians = asset()
    motion = new_motion(MotionConfig(kind="points"), gaussians, seed=0)
    assert torch.equal(motion.at(gaussians, torch.rand(3)).means, gaussians.means.expand(3, -1, -1))


@pytest.mark.parametrize("cyclic", [False, True])
def test_where_it_begins_and_ends(cyclic: bool) -> None:
    gaussians, motion = asset(60), moving(cyclic)
    means = motion.at(gaussians, torch.tensor([0.0, 0.4, 1.0])).means
    assert (means[1] - gaussians.means).norm(dim=-1).mean() > 0.02
    if cyclic:
        torch.testing.assert_close(means[0], means[2], rtol=0, atol=1e-5)
    else:
        assert torch.equal(means[0], gaussians.means)
    assert motion.metadata()["starts_at_rest"] == str(not cyclic).lower()


def test_a_gaussian_at_a_point_goes_its_way_and_between_two_in_between() -> None:
    points = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    motion = PointPaths(PointPathsConfig(num_points=2, neighbours=2), points, cyclic=False)
    coefficients = torch.zeros(2, NUM_FUNCTIONS, 3)
    coefficients[1, 0] = torch.tensor([0.0, 0.3, 0.0])
    motion.set_paths(coefficients)
    away = motion.displacements(torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.0, 0.0]]), torch.tensor([0.6]))[0, :, 1]
    assert away[0].abs() > 0 and torch.isclose(away[1] / away[0], torch.tensor(0.5), atol=0.05)


@torch.no_grad()
def test_what_hangs_beside_the_body_goes_with_its_own_side() -> None:
    """A hand at a hip: a Gaussian between them goes where the nearer one goes, all of the way."""
    hip, hand = (torch.stack([torch.full((9,), x), torch.arange(9) * 0.02, torch.zeros(9)], dim=1) for x in (0.0, 0.04))
    motion = PointPaths(PointPathsConfig(num_points=18), torch.cat([hip, hand]), cyclic=False)
    goes = torch.tensor([0.8, 0.2, 0.0]) * motion.basis.times()[:, None]
    motion.set_paths(motion.basis.coefficients(torch.stack([0.0 * goes] * 9 + [goes] * 9)))
    between = torch.tensor([[0.015, 0.084, 0.0], [0.025, 0.084, 0.0]])
    last = motion.displacements(between, motion.basis.times()[-1:])[0]
    assert float(last[0].norm()) < 1e-3
    torch.testing.assert_close(last[1], motion.displacements(hand[4:5], motion.basis.times()[-1:])[0, 0])
    again = PointPaths.from_tensors(motion.tensors(), motion.metadata())
    assert torch.equal(again.displacements(between, motion.basis.times()[-1:])[0], last)


def test_a_file_without_ways_is_read_as_it_was_made() -> None:
    motion = moving(True)
    tensors = {name: tensor for name, tensor in motion.tensors().items() if name != "ways"}
    plain = PointPaths.from_tensors(tensors, motion.metadata())
    assert not plain.ways.any() and torch.equal(plain.paths, motion.paths)


def test_a_file_gives_the_same_motion() -> None:
    gaussians, motion = asset(60), moving(True)
    again = load_motion(motion.tensors(), motion.metadata(), "cpu")
    times = torch.linspace(0.0, 1.0, 7)
    assert torch.equal(again.at(gaussians, times).means, motion.at(gaussians, times).means)
    assert again.kind == "points"


@torch.no_grad()
def test_what_lies_beyond_the_points_turns_with_them() -> None:
    rest = torch.rand(40, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    motion = PointPaths(PointPathsConfig(num_points=40), rest, cyclic=False)
    angles = 0.6 * motion.basis.times() ** 2
    c, s, o = angles.cos(), angles.sin(), 0.0 * angles
    turns = torch.stack([c, -s, o, s, c, o, o, o, o + 1.0], dim=1).unflatten(1, (3, 3))
    motion.set_paths(motion.basis.coefficients(torch.einsum("tab,nb->nta", turns, rest) - rest[:, None]))
    beyond = torch.tensor([[1.0, 0.2, 0.0]])
    expected = torch.einsum("tab,nb->tna", turns[-1:], beyond) - beyond
    found = motion.displacements(beyond, motion.basis.times()[-1:])
    assert float((found - expected).norm()) < 0.1 * float(expected.norm())
