"""Motions one after the other, and how long motions last."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stages.gaussians import Gaussians
from stages.geometry.trajectories import NUM_FUNCTIONS, basis_of
from stages.motion.kinds import checkpoint_state, checkpoint_tensors, load_motion, motions_before
from stages.motion.point_paths import PointPaths, PointPathsConfig
from stages.motion.sequence import FADE_SECONDS, MotionSequence, joined
from stages.motion.timing import Timing, timing, timings
from tests.motion.test_hexplane import asset


def moving(gaussians: Gaussians, *, cyclic: bool, seed: int = 0) -> PointPaths:
    motion = PointPaths(PointPathsConfig(), gaussians.means, cyclic=cyclic)
    shape = (gaussians.num_gaussians, NUM_FUNCTIONS, 3)
    motion.set_paths(0.02 * torch.randn(shape, generator=torch.Generator().manual_seed(seed)))
    return motion


def walked(gaussians: Gaussians, times: Tensor) -> PointPaths:
    """A loop in which all points go round a circle, at rest at the phase 0.25."""
    motion = PointPaths(PointPathsConfig(), gaussians.means, cyclic=True)
    angle = 2.0 * torch.pi * (basis_of(True).times() - 0.25)
    circle = 0.1 * torch.stack([angle.cos() - 1.0, angle.sin(), 0.0 * angle], dim=1)
    motion.set_paths(basis_of(True).coefficients(circle.expand(gaussians.num_gaussians, -1, -1)))
    return motion


@torch.no_grad()
def test_a_loop_is_left_where_the_next_motion_begins_and_nothing_jumps() -> None:
    gaussians = asset(30)
    loop, once = walked(gaussians, torch.zeros(1)), moving(gaussians, cyclic=False)
    whole = joined([loop, once], [2.0, 1.0], [2, 1], gaussians)
    first, second = whole.parts
    assert first.cycles == pytest.approx(2.25) and first.seconds == pytest.approx(2.25)  # 2 cycles, and on to rest
    assert second.begins == pytest.approx(2.25 - FADE_SECONDS) and whole.seconds == pytest.approx(3.0)
    means = whole.displacements(gaussians.means, torch.linspace(0.0, 1.0, 301))
    steps = (means[1:] - means[:-1]).norm(dim=-1).amax(dim=1)
    alone = once.displacements(gaussians.means, torch.linspace(0.0, 1.0, 101))
    usual = max(float(steps[:200].max()), float((alone[1:] - alone[:-1]).norm(dim=-1).max()))
    assert float(steps.max()) < 2.0 * usual
    torch.testing.assert_close(means[:1], loop.displacements(gaussians.means, torch.zeros(1)))
    torch.testing.assert_close(means[-1:], once.displacements(gaussians.means, torch.ones(1)))


def test_a_loop_is_entered_where_the_motion_before_it_ends() -> None:
    gaussians = asset(30)
    once = PointPaths(PointPathsConfig(), gaussians.means, cyclic=False)  # stands still
    whole = joined([once, walked(gaussians, torch.zeros(1))], [1.0, 2.0], [1, 2], gaussians)
    assert whole.parts[1].phase == pytest.approx(0.25)
    assert whole.metadata()["starts_at_rest"] == "true"


def test_a_file_gives_the_same_sequence() -> None:
    gaussians = asset(30)
    motions = [moving(gaussians, cyclic=cyclic, seed=seed) for seed, cyclic in enumerate((True, False, True))]
    whole = joined(motions, [1.0, 1.0, 2.0], [1, 1, 2], gaussians)
    again = load_motion(whole.tensors(), whole.metadata(), "cpu")
    assert isinstance(again, MotionSequence)
    times = torch.linspace(0.0, 1.0, 23)
    assert torch.equal(again.displacements(gaussians.means, times), whole.displacements(gaussians.means, times))


def test_a_checkpoint_holds_what_was_finished_before() -> None:
    gaussians = asset(30)
    first, second = moving(gaussians, cyclic=True), moving(gaussians, cyclic=False, seed=1)
    held = checkpoint_tensors(second, {}, [first])
    [found] = motions_before(held, checkpoint_state(second, [first]), "cpu")
    times = torch.linspace(0.0, 1.0, 5)
    assert torch.equal(found.displacements(gaussians.means, times), first.displacements(gaussians.means, times))
    assert motions_before({}, {}, "cpu") == []


def test_a_loop_is_played_as_often_as_fits_and_other_motions_are_stretched() -> None:
    assert timing(0.6, cyclic=True) == Timing(0.6, 1)
    assert timing(0.6, cyclic=True, wanted=2.0) == Timing(2.0, 3)
    assert timing(0.6, cyclic=True, wanted=0.2) == Timing(0.2, 1)
    assert timing(0.6, cyclic=False, wanted=2.0) == Timing(2.0, 1)
    both = timings([1.0, 0.5], [True, False], wanted=5.0)
    assert sum(one.seconds for one in both) == pytest.approx(5.0) and both[0].cycles == 4
    assert Timing.of(Timing(1.5, 2).metadata()) == Timing(1.5, 2) and Timing.of({}) is None
