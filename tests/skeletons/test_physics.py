"""Laws of the simulated body: its gradients, its fall, its stand, and that a tracking goes on where it was."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from stages.errors import BadInput, NotFinite
from stages.geometry.rotations import quaternion_matrices
from stages.skeletons.physics import TrackConfig, Tracker, replay
from stages.skeletons.physics_model import GRAVITY, MASS_FLOOR, body_model, bone_cuboids
from stages.skeletons.physics_motion import (
    bone_paths,
    euler_angles,
    motion_of,
    motor_angles,
    resample,
    speeds_between,
    start_state,
)
from stages.skeletons.rig import Joints, Rig, Skin, forward_kinematics

pytest.importorskip("newton")

from stages.skeletons import physics_simulation
from stages.skeletons.physics_engine import Chunks, Forces
from stages.skeletons.physics_simulation import Simulation

SECONDS = 0.125
"""Six chunks."""


def _rig() -> Rig:
    """A body on two legs, 2 units high: its feet are 1 wide."""
    heads = torch.tensor([[0.0, 1.2, 0.0], [0.4, 1.0, 0.0], [-0.4, 1.0, 0.0]])
    tails = torch.tensor([[0.0, 2.0, 0.0], [0.4, 0.0, 0.0], [-0.4, 0.0, 0.0]])
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    boxes = [
        ([0.0, 1.5, 0.0], [0.6, 0.5, 0.4]),
        ([0.4, 0.5, 0.0], [0.2, 0.5, 0.5]),
        ([-0.4, 0.5, 0.0], [0.2, 0.5, 0.5]),
    ]
    vertices = torch.cat([torch.tensor(middle) + torch.tensor(half) * corners for middle, half in boxes])
    return Rig(
        joints=Joints(
            names=("body", "left", "right"), parents=(-1, 0, 0), heads=heads, tails=tails, limits_deg=(None,) * 3
        ),
        skin=Skin(
            vertices=vertices, faces=torch.zeros(1, 3, dtype=torch.long), weights=torch.eye(3).repeat_interleave(8, 0)
        ),
        found="hand",
    )


def _swing(num: int = 4) -> tuple[Tensor, Tensor]:
    """Legs that swing against each other: rotations [T, 3, 3, 3], and a shift [T, 3] that stays."""
    angles = torch.stack([torch.zeros(num), torch.linspace(0.0, 0.3, num), -torch.linspace(0.0, 0.3, num)], dim=1)
    quats = torch.stack([(angles / 2).cos(), (angles / 2).sin(), 0 * angles, 0 * angles], dim=-1)
    return quaternion_matrices(quats), torch.zeros(num, 3)


@lru_cache(maxsize=1)
def _tracker() -> Tracker:
    return Tracker(_rig(), *_swing(), SECONDS, TrackConfig(iterations=6))


def _fresh(**settings: float) -> Tracker:
    return Tracker(_rig(), *_swing(), SECONDS, TrackConfig(iterations=6, **settings))  # type: ignore[arg-type]


@lru_cache(maxsize=2)
def _chunks(graph: bool) -> tuple[Chunks, Tensor]:
    """Chunks of a body, and a state that stands on the ground at y = 0 and moves a little."""
    rig = _rig()
    model = body_model(
        rig.joints, bone_cuboids(rig.joints, rig.skin.vertices, rig.skin.weights), motor_hz=10.0, substep_s=1 / 1920
    )
    chunks = Chunks(
        model, torch.eye(3).repeat(3, 1, 1), torch.tensor([0.0, 1.0, 0.0]), chunk_s=1 / 48, forces=Forces(), graph=graph
    )
    paths = bone_paths(model, torch.eye(3).repeat(1, 3, 1, 1), torch.zeros(1, 3))
    speeds = torch.tensor([[0.02, 0.0, 0.05], [0.1, 0.0, 0.0], [0.2, 0.1, 0.0], [-0.3, 0.0, 0.1]])
    return chunks, start_state(model, paths, speeds.double()).float()


KNOTS = torch.tensor([[0.1, 0.0, 0.05], [-0.1, 0.05, 0.0]]), torch.tensor([[0.15, 0.0, 0.0], [-0.1, 0.0, 0.05]])


@pytest.mark.parametrize("ground", [-9.0, 0.001], ids=["in the air", "on the ground"])
@pytest.mark.parametrize("what", ["speeds", "first", "last"])
def test_gradients_are_those_of_finite_differences(ground: float, what: str) -> None:
    chunks, state = _chunks(True)
    seed = torch.randn(3, 29, generator=torch.Generator().manual_seed(0))
    seed[:, 13:] = 0.0
    by_state, by_first, by_last = chunks.backward(state, *KNOTS, ground, seed)
    gradient = {"speeds": by_state[:, 7:13], "first": by_first, "last": by_last}[what]
    away = gradient / gradient.norm()

    def value(step: float) -> float:
        start, (first, last) = state.clone(), KNOTS
        if what == "speeds":
            start[:, 7:13] += step * away
        first = first + step * away if what == "first" else first
        last = last + step * away if what == "last" else last
        return float((seed * chunks.forward(start, first, last, ground)).double().sum())

    step = 1e-2  # positions are float32: in a smaller step rounding shows
    assert float(gradient.norm()) == pytest.approx((value(step) - value(-step)) / (2.0 * step), rel=0.02)


def test_recorded_graphs_give_the_same_bytes() -> None:
    seed = torch.randn(3, 29, generator=torch.Generator().manual_seed(1))
    made = []
    for graph in (True, False):
        chunks, state = _chunks(graph)
        assert chunks.recorded == graph
        chunks.forward(state + 0.01, *KNOTS, 0.1)  # what was before leaves no trace
        chunks.backward(state + 0.01, *KNOTS, 0.1, seed)
        made.append([chunks.forward(state, *KNOTS, 0.001), *chunks.backward(state, *KNOTS, 0.001, seed)])
    for one, other in zip(*made, strict=True):
        assert torch.equal(one, other)


def test_a_body_in_the_air_falls_with_g_whatever_the_targets() -> None:
    """No force acts on the root: the centre of mass of all bones falls freely."""
    chunks, state = _chunks(True)
    rig = _rig()
    model = body_model(
        rig.joints, bone_cuboids(rig.joints, rig.skin.vertices, rig.skin.weights), motor_hz=10.0, substep_s=1 / 1920
    )
    share = model.masses.float()[:, None]

    def middle(of: Tensor) -> tuple[Tensor, Tensor]:
        return (share * of[:, :3]).sum(dim=0), (share * of[:, 7:10]).sum(dim=0)

    before, velocity = middle(state)
    now = state
    for _ in range(4):
        now = chunks.forward(now, 4.0 * KNOTS[0], -3.0 * KNOTS[1], -9.0)
    seconds = 4 / 48
    after, speed = middle(now)
    down = torch.tensor([0.0, -GRAVITY, 0.0])
    torch.testing.assert_close(speed, velocity + seconds * down, atol=1e-4, rtol=1e-4)
    expected = before + seconds * velocity + 0.5 * seconds * (seconds + 1 / 1920) * down
    torch.testing.assert_close(after, expected, atol=1e-4, rtol=1e-4)
    assert float((now[:, 3:7] - state[:, 3:7]).norm()) > 0.05  # while its legs do move


def test_a_standing_body_stands_and_sticks() -> None:
    chunks, state = _chunks(True)
    now = state.clone()
    now[:, 7:] = 0.0
    now[:, 7] = 0.3  # it is pushed along

    def wait(now: Tensor, num_chunks: int) -> Tensor:
        for _ in range(num_chunks):
            now = chunks.forward(now, torch.zeros(2, 3), torch.zeros(2, 3), 0.0)
        return now

    now = wait(now, 80)
    assert float(now[:, 7:13].abs().max()) < 0.05
    assert float((now[1:, 1] - state[1:, 1]).abs().max()) < 0.004  # its feet are neither in the ground nor above it
    assert float((wait(now, 24) - now)[:, :3].norm(dim=1).max()) < 1e-3


def test_a_replay_is_the_same_motion() -> None:
    tracker = _fresh()
    for iteration in range(3):
        tracker.step(iteration)
    best = tracker.best()
    again = replay(_rig(), best.controls, 4)
    torch.testing.assert_close(again.rotations, best.rotations, atol=1e-6, rtol=0)
    torch.testing.assert_close(again.shift, best.shift, atol=1e-6, rtol=0)
    assert best.rotations.shape == (4, 3, 3, 3) and best.shift.shape == (4, 3)
    assert best.controls.ground == pytest.approx(0.0, abs=1e-6)
    assert 0.0 <= best.upright <= 0.1


def test_tracking_comes_nearer() -> None:
    tracker = _tracker()
    losses = [tracker.step(iteration)["tracking"] for iteration in range(6)]
    assert min(losses) < 0.5 * losses[0]
    best = tracker.best()
    assert best.tracking == pytest.approx(min(losses), rel=1e-5) and best.first_tracking == pytest.approx(losses[0])


def test_a_resumed_tracking_has_the_same_bytes() -> None:
    whole, first, second = _fresh(), _fresh(), _fresh()
    for iteration in range(4):
        whole.step(iteration)
    for iteration in range(2):
        first.step(iteration)
    second.restore(first.state())
    for iteration in (2, 3):
        second.step(iteration)
    one, other = whole.state(), second.state()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_burst_names_iteration_and_bone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(physics_simulation, "FASTEST_M_S", 1e-6)
    with pytest.raises(NotFinite, match=r"iteration 5.*(body|left|right)"):
        _fresh().step(5)


def test_nothing_to_follow_is_refused() -> None:
    rotations, shift = _swing()
    with pytest.raises(BadInput):
        Tracker(_rig(), rotations[:1], shift[:1], 1.0, TrackConfig())
    with pytest.raises(BadInput):
        Tracker(_rig(), rotations, shift, 0.0, TrackConfig())
    with pytest.raises(BadInput):
        TrackConfig(iterations=0)
    with pytest.raises(BadInput):
        _fresh().best()


def test_angles_are_those_that_the_joints_measure() -> None:
    """A body at rest in its targets feels no torque: angles, zeros and the engine's convention agree."""
    rig = _rig()
    turns = quaternion_matrices(
        torch.randn(3, 4, generator=torch.Generator().manual_seed(2)) * 0.3 + torch.tensor([1.0, 0, 0, 0])
    )
    rotations = turns[None].repeat(2, 1, 1, 1)
    tracker = Tracker(rig, rotations, torch.zeros(2, 3), 1 / 48, TrackConfig(iterations=1))
    for zeros in (torch.eye(3).repeat(3, 1, 1), tracker.first.zeros):
        controls = replace(
            tracker.first,
            zeros=zeros,
            knots=motor_angles(rotations, zeros.float()),
            ground=-99.0,
        )
        simulation = Simulation(rig, controls)
        end = simulation.run(simulation.start(0.0 * controls.speeds), controls.knots)[-1]
        relative = end[1:, 10:13] - end[:1, 10:13]
        assert float(relative.abs().max()) < 0.05  # a motor that was off by .01 rad would reach more


def test_euler_angles_undo_their_product() -> None:
    angles = torch.tensor([0.4, -0.7, 1.1], dtype=torch.float64)
    eye, half = torch.eye(3, dtype=torch.float64), angles / 2
    x, y, z = (quaternion_matrices(torch.cat([half[k].cos()[None], half[k].sin() * eye[k]])) for k in range(3))
    torch.testing.assert_close(euler_angles(x @ y @ z), angles)


def test_motors_pass_half_a_turn_without_a_jump() -> None:
    turning = torch.linspace(2.8, 3.6, 9)
    quats = torch.stack([(turning / 2).cos(), (turning / 2).sin(), 0 * turning, 0 * turning], dim=-1)
    rotations = quaternion_matrices(quats)[:, None].repeat(1, 2, 1, 1)
    angles = motor_angles(rotations, torch.eye(3).repeat(2, 1, 1))
    torch.testing.assert_close(angles[:, 0, 0], turning, atol=1e-5, rtol=0)


def test_states_come_back_as_the_motion() -> None:
    rig = _rig()
    rotations, shift = _swing(5)
    shift = shift + torch.linspace(0.0, 0.5, 5)[:, None]
    cuboids = bone_cuboids(rig.joints, rig.skin.vertices, rig.skin.weights)
    model = body_model(rig.joints, cuboids, motor_hz=10.0, substep_s=1 / 1920)
    again, moved = motion_of(model, bone_paths(model, rotations.double(), shift.double()), 0.0)
    torch.testing.assert_close(again.float(), rotations, atol=1e-5, rtol=0)
    torch.testing.assert_close(moved.float(), shift, atol=1e-5, rtol=0)


def test_speeds_at_the_start_are_the_motions_own() -> None:
    rig = _rig()
    cuboids = bone_cuboids(rig.joints, rig.skin.vertices, rig.skin.weights)
    model = body_model(rig.joints, cuboids, motor_hz=10.0, substep_s=1 / 1920)
    rotations, shift = _swing(2)
    finer = resample(rotations.double(), shift.double() + torch.tensor([[0.0, 0, 0], [0.3, 0, 0]]), 201)
    paths = bone_paths(model, *finer)
    state = start_state(model, paths, speeds_between(paths, model.parents, 1e-3))
    torch.testing.assert_close(state[:, 7:10], (paths.centres[1] - paths.centres[0]) / 1e-3, atol=1e-3, rtol=1e-3)


def test_masses_and_cuboids() -> None:
    rig = _rig()
    cuboids = bone_cuboids(rig.joints, rig.skin.vertices, rig.skin.weights)
    torch.testing.assert_close(cuboids.centres[0], torch.tensor([0.0, 1.5, 0.0]))
    torch.testing.assert_close(cuboids.halves[1], torch.tensor([0.2, 0.5, 0.5]))
    model = body_model(rig.joints, cuboids, motor_hz=10.0, substep_s=1 / 1920)
    assert float(model.masses.sum()) == pytest.approx(1.0) and float(model.masses.min()) >= 0.9 * MASS_FLOOR
    assert model.scale == pytest.approx(0.5) and model.height == pytest.approx(1.0)
    rotations, shift = _swing(2)
    posed = cuboids.posed(forward_kinematics(rig.joints.parents, rig.joints.heads, rotations, shift))
    assert posed.shape == (2, 3, 8, 3)
    torch.testing.assert_close(posed[0, 1].amin(dim=0), torch.tensor([0.2, 0.0, -0.5]), atol=1e-6, rtol=0)
    bare = bone_cuboids(rig.joints)
    assert bool(((bare.centres - rig.joints.heads).abs() <= bare.halves + 1e-6).all())


def test_without_newton_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['newton'] = None\n"
        "from stages.errors import NotAvailable\n"
        "try: import stages.skeletons.physics_engine\n"
        "except NotAvailable as error: sys.exit(error.exit_code if 'animus3d[physics]' in error.hint else 1)\n"
        "sys.exit(2)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stderr
