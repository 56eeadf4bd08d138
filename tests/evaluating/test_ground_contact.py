"""Contact and bones as eval measures them, on motions whose values are known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from stages.evaluating.ground_contact import on_bones, on_ground
from stages.gaussians import Gaussians
from stages.geometry.rotations import quaternion_matrices
from stages.metrics.catalogue import Entry
from stages.motion.skeletal import SkeletalMotion, SkeletonConfig
from stages.motion.timing import Timing
from stages.moving.asset import MovingAsset
from tests.motion.test_hexplane import asset as splat
from tests.motion.test_skeletal import arm, moving


class Straight:
    """All points go with a constant velocity, from rest, for a clip of 1; or they begin ``above``."""

    def __init__(self, velocity: tuple[float, float, float], above: float = 0.0, cyclic: bool = False) -> None:
        self.velocity, self.above, self.cyclic = torch.tensor(velocity), torch.tensor([0.0, above, 0.0]), cyclic

    def displacements(self, points: Tensor, times: Tensor) -> Tensor:
        return (times[:, None, None] * self.velocity + self.above).expand(-1, len(points), -1)

    def metadata(self) -> dict[str, str]:
        return {"cyclic": str(self.cyclic).lower()}


@pytest.fixture
def body() -> Gaussians:
    """2 high, standing at y = -1."""
    made = splat()
    low, high = made.bounds()
    return replace(made, means=(made.means - low) / (high - low).max() * 2.0 * torch.tensor([1.0, 1.0, 1.0]) - 1.0)


def values(entries: dict[str, Entry]) -> dict[str, float]:
    return {name: entry["value"] for name, entry in entries.items()}


def ground(body: Gaussians, motion: object, seconds: float | None = None) -> dict[str, Entry]:
    timing = None if seconds is None else Timing(seconds)
    return on_ground(MovingAsset(body, motion, "motion", "", timing=timing), 16)  # type: ignore[arg-type]


def height(body: Gaussians) -> float:
    low, high = body.bounds()
    return float(high[1] - low[1])


def test_a_body_that_stands_still(body: Gaussians) -> None:
    found = ground(body, None)
    assert values(found) == {"foot_slide": 0.0, "penetration": 0.0, "floating": 0.0, "contact_share": 100.0}
    assert found["penetration"]["frames"] == 49 and found["penetration"]["seconds"] == 2.0


def test_a_slide_is_its_speed_and_that_of_a_loop_is_how_it_walks_on_the_spot(body: Gaussians) -> None:
    size = height(body)
    found = values(ground(body, Straight((3.0, 0.0, 4.0)), seconds=0.5))
    assert found["foot_slide"] == pytest.approx(5.0 / 0.5 / size, rel=1e-3)
    assert found["contact_share"] == 100.0 and found["penetration"] == found["floating"] == 0.0
    loop = values(ground(body, Straight((3.0, 0.0, 4.0), cyclic=True), seconds=0.5))
    assert loop["foot_slide"] < 0.05 * found["foot_slide"]


def test_a_body_that_sinks_and_one_that_floats(body: Gaussians) -> None:
    size = height(body)
    sinks = ground(body, Straight((0.0, -0.2 * size, 0.0)))
    assert sinks["penetration"]["value"] == pytest.approx(10.0, rel=1e-3)
    assert sinks["penetration"]["most"] == pytest.approx(20.0, rel=1e-3)
    assert sinks["floating"]["value"] == 0.0 and sinks["contact_share"]["value"] == 100.0
    floats = ground(body, Straight((0.0, 0.0, 0.0), above=0.3 * size))
    assert floats["floating"]["value"] == pytest.approx(30.0, rel=1e-3)
    assert floats["contact_share"]["value"] == 0.0 and floats["foot_slide"]["value"] is None
    assert "touches the ground" in floats["foot_slide"]["unavailable"]


def test_a_jump_touches_in_a_share_of_the_frames(body: Gaussians) -> None:
    """From 0.25 below to 0.25 above: half of the frames, and the one on the ground."""
    size = height(body)
    found = values(ground(body, Straight((0.0, 0.5 * size, 0.0), above=-0.25 * size), seconds=1.0))
    assert found["contact_share"] == pytest.approx(100.0 * 13 / 25)
    assert found["floating"] == pytest.approx(found["penetration"], rel=1e-3)


def test_a_flat_body_has_no_ground(body: Gaussians) -> None:
    flat = replace(body, means=body.means * torch.tensor([1.0, 0.0, 1.0]))
    assert set(values(ground(flat, None)).values()) == {None}


def test_bones_keep_their_lengths(body: Gaussians) -> None:
    turned = on_bones(MovingAsset(body, moving(), "motion", ""), 16)["bone_length_error"]
    assert turned["value"] == pytest.approx(0.0, abs=1e-3) and turned["joints"] == 2
    other = on_bones(MovingAsset(body, Straight((1.0, 0.0, 0.0)), "motion", ""), 16)["bone_length_error"]  # type: ignore[arg-type]
    assert other["value"] is None and "--motion skeleton" in other["unavailable"]


def test_a_motion_of_bones_that_lies_deeper_than_it_rests() -> None:
    """The arm of ``test_skeletal`` as a splat, sunk by 0.1; then turned upright about its root."""
    rig, generator = arm(), torch.Generator().manual_seed(0)
    points = rig.skin.vertices
    some = splat()
    chosen = torch.randint(some.num_gaussians, (len(points),), generator=generator)
    body = replace(some.select(chosen), means=points)
    motion = SkeletalMotion(SkeletonConfig(free_start=True), rig, cyclic=False)
    still = torch.eye(3).expand(motion.config.frames, 2, 3, 3)
    motion.set_pose(still, torch.tensor([0.0, -0.1, 0.0]).expand(motion.config.frames, 3))
    found = ground(body, motion)
    assert found["penetration"]["value"] == pytest.approx(100 * 0.1 / height(body), rel=1e-3)
    half = math.sqrt(0.5)
    up = quaternion_matrices(torch.tensor([half, 0.0, 0.0, half]))  # x to y, about z
    turned = still.clone()
    turned[:, 0] = up
    motion.set_pose(turned, torch.zeros(motion.config.frames, 3))
    found = ground(body, motion)
    assert found["floating"]["value"] == pytest.approx(100 * 0.2 / height(body), rel=1e-2)  # from -0.2 to 0
