"""Rigs of files: one tree of few bones that does what the clips do, IK feet under their legs, weights that add up."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from stages.assets import asset_path
from stages.errors import BadInput
from stages.meshes.placement import Placement
from stages.skeletons.bones_of_file import find_bones, node_matrices, other_side
from stages.skeletons.file_rig import FileRig, plain_name, rig_of_file
from stages.skeletons.rig import forward_kinematics
from stages.skeletons.rigged import RiggedFile, read_rigged
from stages.skeletons.skeleton import skin

TURN = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
PLACEMENT = Placement("y", TURN, 0.5, torch.tensor([0.1, 0.2, 0.3]))


def read(name: str, max_bones: int = 24) -> tuple[RiggedFile, FileRig]:
    file = read_rigged(asset_path("rigged", name))
    matrices = file.skeleton.joint_matrices(file.bind_local)[0]
    return file, rig_of_file(file, PLACEMENT, matrices, max_bones=max_bones)


@pytest.mark.parametrize(("name", "most"), [("Horse", 0.025), ("Fox", 0.025), ("Knight", 0.05), ("Leela", 0.05)])
def test_a_rig_does_what_the_clips_do(name: str, most: float) -> None:
    """Measured: 0.011, 0.002, 0.011 and 0.0004 of the diagonal in the worst clip."""
    file, found = read(f"{name}.glb")
    joints, carried = found.rig.joints, found.rig.skin
    assert 2 < len(joints) <= 24 and joints.parents.count(-1) == 1
    assert all(parent < joint for joint, parent in enumerate(joints.parents))
    assert len(set(joints.names)) == len(joints) == carried.weights.shape[1]
    torch.testing.assert_close(carried.weights.sum(dim=1), torch.ones(len(carried.vertices)))
    diagonal = float((carried.vertices.amax(0) - carried.vertices.amin(0)).norm())
    for clip in list(file.clips)[:4]:
        seconds = torch.linspace(0.0, 1.0, 8) * file.clip_seconds(clip)
        rotations, shift = found.clip(file, clip, seconds)
        ours = skin(
            carried.vertices, carried.weights, forward_kinematics(joints.parents, joints.heads, rotations, shift)
        )
        true = skin(file.vertices, file.weights, file.skeleton.joint_matrices(file.pose(clip, seconds)))
        assert float((ours - PLACEMENT.to_asset(true)).norm(dim=-1).mean()) < most * diagonal, clip


def test_feet_that_inverse_kinematics_places_hang_on_their_legs() -> None:
    """In the file they are children of the armature."""
    joints = read("Horse.glb")[1].rig.joints
    above = {
        name: joints.names[parent] for name, parent in zip(joints.names, joints.parents, strict=True) if parent >= 0
    }
    for side in "LR":
        assert above[f"IKFrontLeg.{side}"] == f"FrontLowerLeg.{side}"
        assert above[f"IKBackLeg.{side}"] == f"BackLowerLeg.{side}"
        assert above[f"FrontLowerLeg.{side}"] == f"FrontUpperLeg.{side}"


def test_fewer_bones_are_merged_left_and_right_alike() -> None:
    names = read("Horse.glb", max_bones=12)[1].rig.joints.names
    assert len(names) <= 12
    sides = {name.lower() for name in names if other_side(name)}
    assert sides == {other_side(name) for name in sides}


def test_a_file_without_clips_still_has_a_tree() -> None:
    file = read_rigged(asset_path("rigged", "Horse.glb"))
    still = replace(file, clips={})
    found = rig_of_file(still, PLACEMENT, still.skeleton.joint_matrices(still.bind_local)[0], max_bones=24)
    joints = found.rig.joints
    assert len(joints) == 24 and joints.parents.count(-1) == 1
    foot = [file.names[node] for node in file.joints].index("IKFrontLeg.L")  # a child of the armature in the file
    owner = joints.names[found.bones.owners[foot]]
    assert "Front" in owner and owner.endswith(".L")


def test_every_joint_of_the_file_has_an_owner_and_every_vertex_its_own() -> None:
    file, found = read("Knight.glb")
    assert len(found.bones.owners) == len(file.joints)
    owners = torch.tensor(found.bones.owners)
    again = torch.zeros_like(found.rig.skin.weights).index_add(1, owners, file.weights)
    assert torch.equal(again, found.rig.skin.weights)


@pytest.mark.parametrize(
    ("scale", "word"),
    [((-1.0, 1.0, 1.0), "mirrored"), ((1.0, 3.0, 1.0), "unevenly"), ((0.0, 0.0, 0.0), "nothing")],
)
def test_bones_that_cannot_turn_are_refused_by_name(scale: tuple[float, float, float], word: str) -> None:
    file = read_rigged(asset_path("rigged", "Fox.glb"))
    at_rest = node_matrices(file, file.skeleton.joint_matrices(file.bind_local)[0])
    head = file.names.index("b_Head_05")
    at_rest[head, :3, :3] = at_rest[head, :3, :3] @ torch.diag(torch.tensor(scale))
    with pytest.raises(BadInput) as caught:
        find_bones(file, at_rest, file.vertices, 24)
    assert "b_Head_05" in caught.value.what and word in caught.value.what


def test_a_file_whose_weights_are_all_zero_is_refused() -> None:
    file = read_rigged(asset_path("rigged", "Fox.glb"))
    at_rest = node_matrices(file, file.skeleton.joint_matrices(file.bind_local)[0])
    with pytest.raises(BadInput, match="zero") as caught:
        find_bones(replace(file, weights=torch.zeros_like(file.weights)), at_rest, file.vertices, 24)
    assert "--skeleton auto" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "plain"), [("mixamorig:LeftArm", "LeftArm"), ("DEF-thigh.L", "thigh.L"), ("J_Bip_L_Hand", "L_Hand")]
)
def test_prefixes_of_other_tools_are_left_out(name: str, plain: str) -> None:
    assert plain_name(name) == plain
    assert other_side("LeftArm") == "rightarm" and other_side("hand.r") == "hand.l" and other_side("spine") == ""
