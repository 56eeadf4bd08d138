"""A mesh asset that comes back as its own file with the motion of a rig, and the stand-in of a splat; both read again
by hand."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.errors import BadInput
from stages.exporting.joint_tracks import Nodes, node_tracks
from stages.exporting.skinned import SkinnedClip, skin_own_mesh
from stages.exporting.skinned_stand_in import influences, skin_stand_in
from stages.geometry.rotations import UPRIGHT, quaternion_matrices
from stages.meshes.paint import linear_light
from stages.meshes.placement import Placement
from stages.skeletons.rigged import read_rigged
from stages.skeletons.skeleton import Pose, skin
from stages.skeletons.write_glb import glb_bytes
from tests.exporting.motions import ASSETS, Reader, arm, rig_of_file, some_motion

CLOSE = 1e-4
"""Of the diagonal."""

FRAMES = 5
FILES = ["rigged/Horse", "rigged/Knight", "rigged/Fox", "rigged/Kenney", "rigged/ShibaInu"]
AS_IT_IS = Placement("y", torch.eye(3))
TURNED = Placement("z", quaternion_matrices(torch.tensor(UPRIGHT["z"])), 0.37, torch.tensor([0.4, -2.0, 1.0]))


@functools.cache
def opened(data: bytes) -> Reader:
    return Reader(data)


def contents(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[12:16], "little")
    return dict(json.loads(data[20 : 20 + length]))


@functools.cache
def exported(
    path: Path, placement: Placement, pose: str | None = None, *, merged: bool = False, loop: bool = False
) -> Any:
    """The file's bytes, and where all of its vertices have to be: [T + 1, V, 3], at rest first."""
    file = read_rigged(path)
    local = file.bind_local if pose in (None, "mesh") else file.named_pose(str(pose))
    rest = file.skeleton.joint_matrices(local)[0]
    if pose == "mesh":  # as it is in the file, which is the last that ``find_asset`` tries
        rest = rest[:1].expand(len(rest), 4, 4)
    owners, parents, heads = rig_of_file(file, rest, placement)
    if merged:  # every third joint follows the one above it
        owners = [parents[j] if j % 3 == 2 and parents[j] >= 0 else j for j in owners]
    matrices = some_motion(parents, heads, FRAMES)
    clip = SkinnedClip(name="made up", matrices=matrices, fps=12, loop=loop)
    data = skin_own_mesh(path, owners, rest, placement, [clip], credit="somebody")
    P = torch.eye(4).double()
    P[:3, :3] = placement.scale * placement.R_asset_file
    if placement.offset is not None:
        P[:3, 3] = placement.offset
    moves = torch.linalg.inv(P) @ matrices.double() @ P
    standing = rest.double()[None]
    skinned = torch.cat([standing, moves[:, owners] @ standing])
    vertices = skin(file.vertices.double(), file.weights.double(), skinned).numpy()
    return data, np.concatenate([vertices[:, file.places[place]] for place in sorted(file.places)], axis=1)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("merged", "placement"), [(False, AS_IT_IS), (True, TURNED)], ids=["own", "merged-turned"])
def test_vertices_are_where_skinning_has_them(name: str, merged: bool, placement: Placement) -> None:
    data, expected = exported(ASSETS / f"{name}.glb", placement, merged=merged)
    there, diagonal = opened(data), np.linalg.norm(np.ptp(expected[0], axis=0))
    assert np.abs(there.vertices() - expected[0]).max() < CLOSE * diagonal
    assert np.abs(expected[3] - expected[0]).max() > 0.05 * diagonal
    for t in range(FRAMES):
        assert np.abs(there.vertices("made up", t / 12) - expected[1 + t]).max() < CLOSE * diagonal


@pytest.mark.parametrize(
    ("name", "pose"), [("rigged/Horse", "Idle@0.3"), ("rigged/Fox", "Run@0.2"), ("rigged/Dolphin", "mesh")]
)
def test_an_asset_made_in_another_pose_moves_from_there(name: str, pose: str) -> None:
    data, expected = exported(ASSETS / f"{name}.glb", AS_IT_IS, pose)
    there, diagonal = opened(data), np.linalg.norm(np.ptp(expected[0], axis=0))
    assert np.abs(there.vertices() - expected[0]).max() > 0.01 * diagonal  # the file itself stays in its own pose
    for t in range(FRAMES):
        assert np.abs(there.vertices("made up", t / 12) - expected[1 + t]).max() < CLOSE * diagonal


@pytest.mark.parametrize("name", FILES)
def test_nothing_else_changes(name: str) -> None:
    before = (ASSETS / f"{name}.glb").read_bytes()
    after, _ = exported(ASSETS / f"{name}.glb", AS_IT_IS)
    old, new = contents(before), contents(after)
    assert new["asset"].pop("copyright").endswith("somebody")
    old["asset"].pop("copyright", None)
    added = new["animations"][len(old.get("animations", [])) :]
    assert [clip["name"] for clip in added] == ["made up"]
    for key in old.keys() - {"buffers"}:
        whole = isinstance(old[key], list) and key in ("accessors", "bufferViews", "animations")
        assert (new[key][: len(old[key])] if whole else new[key]) == old[key], key
    assert new.keys() - old.keys() <= {"animations"}
    start, length = 28 + int.from_bytes(before[12:16], "little"), old["buffers"][0]["byteLength"]
    again = 28 + int.from_bytes(after[12:16], "little")
    assert after[again : again + length] == before[start : start + length]
    reader = opened(after)
    clip = reader.clip("made up")
    counts = {
        (channel.target.node, channel.target.path): reader.gltf.accessors[clip.samplers[channel.sampler].output].count
        for channel in clip.channels
    }
    moving = [path for (_, path), count in counts.items() if count > 1]
    assert "scale" not in moving and moving.count("rotation") >= 6
    assert moving.count("translation") < 7  # bones keep their lengths; roots beside the root, and parts, move
    for other in old.get("animations", []):  # what these move does not stay where they had it
        assert {(c["target"]["node"], c["target"]["path"]) for c in other["channels"]} <= counts.keys()


def test_a_loop_ends_with_its_first_frame_and_quaternions_are_continuous() -> None:
    data, _ = exported(ASSETS / "rigged/Fox.glb", AS_IT_IS, loop=True)
    read = Reader(data)
    clip = read.clip("made up")
    longest = [s for s in clip.samplers if read.gltf.accessors[s.input].count > 1]
    assert longest
    for sampler in longest:
        np.testing.assert_allclose(read.values(sampler.input)[:, 0], np.arange(FRAMES + 1) / 12, atol=1e-6)
        assert sampler.interpolation == "LINEAR"
    for channel in clip.channels:
        values = read.values(clip.samplers[channel.sampler].output)
        if channel.target.path == "rotation":
            np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1.0, atol=1e-6)
            assert ((values[1:] * values[:-1]).sum(axis=1) > 0).all()
    np.testing.assert_allclose(read.vertices("made up", FRAMES / 12), read.vertices("made up", 0.0), atol=1e-4)


def test_several_motions_in_one_file_and_names_that_are_taken() -> None:
    path = ASSETS / "rigged/Fox.glb"
    file = read_rigged(path)
    rest = file.skeleton.joint_matrices(file.bind_local)[0]
    owners, parents, heads = rig_of_file(file, rest, AS_IT_IS)
    clips = [
        SkinnedClip(name=name, matrices=some_motion(parents, heads, 3 + k, seed=k), fps=8)
        for k, name in enumerate(("Walk", "hop", "hop"))
    ]
    read = Reader(skin_own_mesh(path, owners, rest, AS_IT_IS, clips))
    own = list(file.clips)
    assert [clip.name for clip in read.gltf.animations] == [*own, "Walk 2" if "Walk" in own else "Walk", "hop", "hop 2"]
    for name, clip in zip(("hop", "hop 2"), clips[1:], strict=True):
        expected = skin(file.vertices, file.weights, clip.matrices[-1:, owners] @ rest)[0].numpy()
        there = read.vertices(name, (len(clip.matrices) - 1) / 8)
        np.testing.assert_allclose(there, expected, atol=CLOSE * np.ptp(expected, axis=0).max())


def scattered(path: Path, folder: Path) -> Path:
    """A ``.glb`` as a ``.gltf`` with its buffer and its pictures beside it."""
    data = path.read_bytes()
    content, binary = contents(data), data[28 + int.from_bytes(data[12:16], "little") :]
    for i, image in enumerate(content.get("images", [])):
        view = content["bufferViews"][image.pop("bufferView")]
        image["uri"] = f"a%20picture{i}.png"
        (folder / f"a picture{i}.png").write_bytes(binary[view.get("byteOffset", 0) :][: view["byteLength"]])
    content["buffers"][0]["uri"] = "all.bin"
    (folder / "all.bin").write_bytes(binary)
    (folder / "apart.gltf").write_text(json.dumps(content))
    return folder / "apart.gltf"


def test_files_beside_it_are_taken_in(tmp_path: Path) -> None:
    path = scattered(ASSETS / "rigged/Fox.glb", tmp_path)
    data, expected = exported(path, AS_IT_IS)
    content, diagonal = contents(data), np.linalg.norm(np.ptp(expected[0], axis=0))
    assert not any("uri" in thing for thing in (*content["buffers"], *content["images"]))
    view = content["bufferViews"][content["images"][0]["bufferView"]]
    blob = data[28 + int.from_bytes(data[12:16], "little") :]
    assert blob[view["byteOffset"] :][: view["byteLength"]] == (tmp_path / "a picture0.png").read_bytes()
    assert np.abs(Reader(data).vertices("made up", 3 / 12) - expected[4]).max() < CLOSE * diagonal


def small_file(folder: Path, **bone: Any) -> Path:
    """Two bones, the lower below the upper, whose node says also ``bone``, and a triangle that hangs on the lower."""
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32).tobytes()
    content = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [
            {"name": "upper", "mesh": 0, "children": [1]} | bone,
            {"name": "lower", "mesh": 0, "translation": [1, 0, 0]},
        ],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]}
        ],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "buffers": [{"byteLength": 36}],
    }
    path = folder / "small.glb"
    path.write_bytes(glb_bytes(content, points))
    return path


def test_a_node_with_a_matrix_gets_shift_turn_and_scale(tmp_path: Path) -> None:
    turned = [0, 0, -2, 0, 0, 2, 0, 0, 2, 0, 0, 0, 0.5, 1, 0, 1]
    data, expected = exported(small_file(tmp_path, matrix=turned), AS_IT_IS)
    node = contents(data)["nodes"][0]
    assert "matrix" not in node and node["scale"] == [2, 2, 2]
    for second, frame in ((None, 0), (2 / 12, 3)):
        there = Reader(data).vertices(None if second is None else "made up", second or 0.0)
        np.testing.assert_allclose(there, expected[frame], atol=1e-5)


def test_a_motion_that_moves_nothing_is_an_animation_too(tmp_path: Path) -> None:
    path = small_file(tmp_path, matrix=[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1])
    file = read_rigged(path)
    rest = file.skeleton.joint_matrices(file.bind_local)[0]
    still = SkinnedClip(name="still", matrices=torch.eye(4).repeat(3, 2, 1, 1), fps=8)
    read = Reader(skin_own_mesh(path, [0, 1], rest, AS_IT_IS, [still]))
    assert len(read.clip("still").channels) == 1 and not any(node.matrix for node in read.gltf.nodes)
    np.testing.assert_allclose(read.vertices("still", 2 / 8), read.vertices(), atol=1e-6)


def test_a_node_without_size_below_is_refused_by_name() -> None:
    own = Pose(
        torch.zeros(1, 2, 3), torch.tensor([1.0, 0, 0, 0]).expand(1, 2, 4), torch.tensor([[[0.0] * 3, [1.0] * 3]])
    )
    nodes = Nodes(names=("hidden", "below"), parents=(-1, 0), own=own)
    with pytest.raises(BadInput, match="hidden"):
        node_tracks(nodes, {1: torch.eye(4).double().repeat(2, 1, 1)})


@pytest.mark.parametrize(
    ("bone", "culprit"),
    [({"scale": [1, 2, 1]}, "lower"), ({"scale": [-1, 1, 1]}, "upper")],
    ids=["uneven", "mirrored"],
)
def test_a_bone_that_cannot_be_written_is_named(tmp_path: Path, bone: Any, culprit: str) -> None:
    with pytest.raises(BadInput, match=culprit):
        exported(small_file(tmp_path, **bone), AS_IT_IS)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = small_file(tmp_path)
    rest, clip = torch.eye(4).repeat(2, 1, 1), SkinnedClip(name="a", matrices=torch.eye(4).repeat(3, 2, 1, 1), fps=8)
    other = replace(clip, matrices=torch.eye(4).repeat(3, 1, 1, 1), name="of one joint")
    for owners, clips, culprit in (
        ([0], [clip], "1 owners"),
        ([0, 2], [clip], "0 to 1"),
        ([0, -1], [clip], "0 to 1"),
        ([0, 1], [], "no motion"),
        ([0, 1], [clip, other], "of one joint"),
    ):
        with pytest.raises(BadInput, match=culprit):
            skin_own_mesh(path, owners, rest, AS_IT_IS, clips)
    for changed in ({"fps": 0}, {"matrices": clip.matrices[:0]}, {"matrices": clip.matrices * float("nan")}):
        with pytest.raises(BadInput):
            replace(clip, **changed)
    knight = read_rigged(ASSETS / "rigged/Knight.glb")
    count = len(knight.joints)
    with pytest.raises(BadInput, match="two owners"):
        rest = knight.skeleton.joint_matrices(knight.bind_local)[0]
        many = SkinnedClip(name="a", matrices=torch.eye(4).repeat(2, count, 1, 1), fps=8)
        skin_own_mesh(ASSETS / "rigged/Knight.glb", list(range(count)), rest, AS_IT_IS, [many])


def test_the_stand_in_moves_as_the_rig() -> None:
    rig, colors = arm(), torch.rand(40, 3, generator=torch.Generator().manual_seed(1))
    clips = [
        SkinnedClip(
            name=name, matrices=some_motion(list(rig.joints.parents), rig.joints.heads, 4, seed=k), fps=10, loop=bool(k)
        )
        for k, name in enumerate(("first", "second"))
    ]
    data = skin_stand_in(rig, colors, clips, title="an arm", credit="somebody")
    read = Reader(data)
    assert [clip.name for clip in read.gltf.animations] == ["first", "second"]
    assert tuple(node.name for node in read.gltf.nodes) == (*rig.joints.names, "an arm")
    part = read.gltf.meshes[0].primitives[0]
    assert part.attributes.JOINTS_1 is not None  # five joints matter
    np.testing.assert_allclose(read.values(part.attributes.COLOR_0), linear_light(colors).numpy(), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(read.values(part.attributes.NORMAL), axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(read.values(part.indices).reshape(-1, 3), rig.skin.faces.numpy())
    np.testing.assert_allclose(read.vertices(), rig.skin.vertices.numpy(), atol=1e-6)
    for clip in clips:
        expected = skin(rig.skin.vertices, rig.skin.weights, clip.matrices).numpy()
        for t in range(4):
            there = read.vertices(clip.name, t / 10)
            np.testing.assert_allclose(there, expected[t], atol=3 * CLOSE)
    np.testing.assert_allclose(read.vertices("second", 0.4), read.vertices("second", 0.0), atol=1e-5)
    with pytest.raises(BadInput):
        skin_stand_in(rig, colors, [])
    with pytest.raises(BadInput):
        skin_stand_in(rig, colors, [replace(clips[0], matrices=clips[0].matrices[:, :4])])


def test_as_many_influences_as_matter() -> None:
    which, shares = influences(torch.tensor([[0.5, 0.0, 0.3, 0.2, 0.0], [0.0, 0.99995, 0.0, 0.0, 0.00005]]))
    assert which.shape == (2, 4) and which[0].tolist() == [0, 2, 3, 0] and which[1, 0] == 1
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(2))
    which, shares = influences(torch.full((1, 6), 1 / 6))
    assert which.shape == (1, 8) and sorted(which[0, :6].tolist()) == list(range(6))
    torch.testing.assert_close(shares[0, :6], torch.full((6,), 1 / 6))
    assert influences(torch.ones(3, 1))[1].tolist() == [[1, 0, 0, 0]] * 3
