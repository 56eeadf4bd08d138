"""Clips carried from one person to another."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch
from torch import Tensor

from stages.skeletons.skeleton import Pose
from stages.zoo.bodies import open_body, read_bodies
from stages.zoo.retarget import Retargeting, Upright, nodes_in
from stages.zoo.trajectories import clip_poses

TIMES = torch.linspace(0.0, 1.0, 9)


@lru_cache(maxsize=8)
def upright(file: str) -> Upright:
    entry = next(entry for entry in read_bodies() if entry.file == file)
    opened = open_body(entry)
    found = Upright.of(opened, opened.named_pose(entry.rest[0].pose))
    assert found is not None
    return found


def limb(body: Upright, poses: Pose, bone: str, end: str) -> Tensor:
    """Where a bone points, [T, 3]."""
    nodes = nodes_in(body.file, poses)[..., :3, 3]
    return torch.nn.functional.normalize(nodes[:, body.bones[end]] - nodes[:, body.bones[bone]], dim=-1)


@pytest.mark.parametrize(("file", "clip"), [("man_Casual.glb", "Man_Run"), ("kaykit_Mage.glb", "PickUp")])
def test_to_itself_changes_little(file: str, clip: str) -> None:
    body = upright(file)
    poses = clip_poses(body.file, clip, TIMES, cyclic=False)
    carried = Retargeting(body, body)(poses)
    now, before = nodes_in(body.file, carried)[..., :3, 3], nodes_in(body.file, poses)[..., :3, 3]
    size = (body.standing[:, :3, 3].amax(dim=0) - body.standing[:, :3, 3].amin(dim=0)).norm()
    known = list(body.bones.values())
    assert (now - before)[:, known].norm(dim=-1).mean() < 0.03 * size  # bones between hips and chest bend evenly


@pytest.mark.parametrize("file", ["man_Casual.glb", "kaykit_Mage.glb", "fruit_Peach.glb"])
def test_arms_and_legs_point_where_the_lenders_do(file: str) -> None:
    lender, body = upright("plat_Character.glb"), upright(file)
    poses = clip_poses(lender.file, "Wave", TIMES, cyclic=False)
    carried = Retargeting(lender, body)(poses)
    for side in ("left", "right"):
        for bone, end in (("upper arm", "lower arm"), ("upper leg", "lower leg"), ("lower leg", "foot")):
            ours = limb(body, carried, f"{side} {bone}", f"{side} {end}")
            theirs = limb(lender, poses, f"{side} {bone}", f"{side} {end}")
            assert (ours * theirs).sum(dim=-1).min() > 0.98


def test_bones_keep_their_lengths() -> None:
    lender, body = upright("kaykit_Barbarian.glb"), upright("woman_Dress.glb")
    carried = Retargeting(lender, body)(clip_poses(lender.file, "Sit_Floor_Down", TIMES, cyclic=False))
    nodes = nodes_in(body.file, carried)[..., :3, 3]
    for bone, end in (("left upper arm", "left lower arm"), ("right lower leg", "right foot")):
        first, second = body.bones[bone], body.bones[end]
        lengths = (nodes[:, second] - nodes[:, first]).norm(dim=-1)
        rest = (body.standing[second, :3, 3] - body.standing[first, :3, 3]).norm()
        torch.testing.assert_close(lengths, rest.expand(len(lengths)), rtol=1e-3, atol=1e-5)


def test_who_sits_on_the_floor_comes_down_to_it() -> None:
    lender, body = upright("kaykit_Barbarian.glb"), upright("man_Suit.glb")
    carried = Retargeting(lender, body)(clip_poses(lender.file, "Sit_Floor_Down", TIMES, cyclic=False))
    nodes = nodes_in(body.file, carried)[..., 1, 3]
    feet = min(float(nodes[0, body.bones[f"{side} foot"]]) for side in ("left", "right"))
    hips = nodes[:, body.bones["hips"]] - feet
    assert -0.1 * hips[0] < hips[-1] < 0.4 * hips[0]


@pytest.mark.parametrize("file", ["khronos_Fox.glb", "blocky_a.glb"])
def test_other_bodies_are_not_taken(file: str) -> None:
    entry = next(entry for entry in read_bodies() if entry.file == file)
    opened = open_body(entry)
    assert Upright.of(opened, opened.bind_local) is None
