"""Animated files against a second, independent reading of them, and samplers against curves with known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from stages.assets import asset_path
from stages.errors import BadInput
from stages.geometry.rotations import quaternion_matrices
from stages.meshes.surface import face_normals, sample_surface
from stages.skeletons.rigged import RiggedFile, Track, read_rigged
from stages.skeletons.skeleton import Pose, Skeleton, skin
from stages.zoo.clips import rigged_clip, rigged_file
from stages.zoo.rigs import Rig, rigs
from tests.meshes.gltf_files import Gltf
from tests.skeletons.gltf_oracle import Oracle

IDS = [rig.file for rig in rigs()]


def _vertices(file: RiggedFile, pose: Pose) -> np.ndarray:  # type: ignore[type-arg]
    skeleton = Skeleton(
        parents=file.parents, joints=file.joints, inverse_bind=file.inverse_bind, world=torch.eye(4)
    )  # fmt: skip
    return skin(file.vertices, file.weights, skeleton.joint_matrices(pose))[0].numpy()


def _agree(vertices: np.ndarray, truth: np.ndarray, atol: float) -> None:  # type: ignore[type-arg]
    """The same vertices, in whatever order a file's several meshes are read."""
    assert vertices.shape == truth.shape
    if not np.allclose(vertices, truth, atol=atol):
        for one, other in ((vertices, truth), (truth, vertices)):
            assert cKDTree(one).query(other)[0].max() <= atol


@pytest.mark.parametrize("rig", rigs(), ids=IDS)
def test_vertices_follow_the_file(rig: Rig) -> None:
    """In the nodes' own pose and at a key of every clip in use. Measured: at most 4e-7 of the body's size."""
    oracle, file = Oracle(asset_path("rigged", rig.file)), rigged_file(rig.file)
    own = oracle.skinned()
    size = np.ptp(own, axis=0).max()
    _agree(_vertices(file, file.bind_local), own, 5e-6 * size)
    for name, *_ in rig.verbs.values():
        keys = oracle.key_times(name)
        at = float(keys[len(keys) // 3])
        moved = oracle.skinned(name, at)
        _agree(_vertices(file, file.pose(name, torch.tensor([at]))), moved, 5e-6 * size)


@pytest.mark.parametrize("rig", rigs(), ids=IDS)
def test_bodies_stand_centred_and_look_ahead(rig: Rig) -> None:
    generator = torch.Generator().manual_seed(0)
    clip = rigged_clip(rig, "static", 2, 1500, generator)
    low, high = clip.asset.bounds()
    assert abs(float((high - low).max()) - 2.0) < 0.1  # the box is the mesh's, the samples lie within
    assert float((low + high).abs().max()) < 0.15
    assert torch.equal(clip.means[0], clip.means[1])
    oracle = Oracle(asset_path("rigged", rig.file))
    heads = [i for i, node in enumerate(oracle.json["nodes"]) if node.get("name") == "Head"]
    # a mech's head sits above its hips, a crab has none, a snake's file stands it coiled
    if heads and rig.file not in ("Leela.glb", "Crab.glb", "Snake.glb"):
        ahead = oracle.node_matrices()[heads[0]][:3, 3] - oracle.skinned().mean(axis=0)
        assert ahead[2] > 0 and ahead[2] > 2 * abs(ahead[0])


@pytest.mark.parametrize("rig", rigs(), ids=IDS)
def test_clips_start_at_rest_and_move(rig: Rig) -> None:
    for verb in rig.verbs:
        clip = rigged_clip(rig, verb, 9, 300, torch.Generator().manual_seed(0))
        torch.testing.assert_close(clip.means[0], clip.asset.means, atol=1e-5, rtol=0)
        turn = (quaternion_matrices(clip.quats[0]) - quaternion_matrices(clip.asset.quats)).abs()
        assert float(turn[..., 2].max()) < 1e-3 and float(turn.max()) < 0.05  # within a disc the axes follow rounding
        assert clip.means.isfinite().all() and clip.quats.isfinite().all()
        torch.testing.assert_close(clip.quats.norm(dim=-1), torch.ones(9, 300))
        moved = (clip.means - clip.means[0]).norm(dim=-1).amax(dim=0)
        assert float(moved.quantile(0.9)) > (0.02 if verb == "idle" else 0.05), verb


def test_flat_gaussians_stay_on_the_moving_surface() -> None:
    """The normal of a Gaussian turns with its surface: of a deer's walk, against normals of the posed mesh."""
    file = rigged_file("Deer.glb")
    body = file.body(file.bind_local, 3000, torch.Generator().manual_seed(0))
    pose = file.pose("AnimalArmature|Walk", torch.tensor([0.4]))
    clip = body.animate(pose)
    standing = skin(file.vertices, file.weights, body.skeleton.joint_matrices(body.rest))[0]
    own = sample_surface(standing, file.faces, 3000, torch.Generator().manual_seed(0)).faces  # the same draws again
    normals = face_normals(torch.from_numpy(_vertices(file, pose)), file.faces)[own] @ body.skeleton.world[:3, :3].T
    normals = torch.nn.functional.normalize(normals, dim=-1)
    axis = quaternion_matrices(clip.quats[0])[:, :, 2]
    off = torch.rad2deg(torch.acos((axis * normals).sum(-1).abs().clamp(max=1.0)))
    still = torch.rad2deg(
        torch.acos((quaternion_matrices(body.gaussians.quats)[:, :, 2] * normals).sum(-1).abs().clamp(max=1.0))
    )
    legs = clip.means[0, :, 1] < -0.4
    assert float(off.median()) < 2.0 and float(off[legs].median()) < 4.0 < float(still[legs].median())


def _track(interpolation: str, values: list[list[float]], path: str = "translation") -> Track:
    return Track(0, path, np.array([1.0, 2.0, 4.0]), np.array(values), interpolation)


def test_samplers_hold_step_and_interpolate() -> None:
    linear = _track("LINEAR", [[0.0], [2.0], [6.0]])
    np.testing.assert_allclose(linear.at(np.array([0.0, 1.0, 1.5, 3.0, 9.0]))[:, 0], [0.0, 0.0, 1.0, 4.0, 6.0])
    step = _track("STEP", [[0.0], [2.0], [6.0]])
    np.testing.assert_allclose(step.at(np.array([0.0, 1.99, 2.0, 3.9, 4.0]))[:, 0], [0.0, 0.0, 2.0, 2.0, 6.0])
    one = Track(0, "scale", np.array([1.0]), np.array([[3.0]]), "LINEAR")
    np.testing.assert_allclose(one.at(np.array([0.0, 5.0]))[:, 0], [3.0, 3.0])


def test_cubic_splines_return_the_cubic_they_sample() -> None:
    """Values and slopes of a cubic polynomial at the keys determine it: t^3 - 2 t."""
    keys = [1.0, 2.0, 4.0]
    values = [[row] for t in keys for row in (3 * t * t - 2, t**3 - 2 * t, 3 * t * t - 2)]
    seconds = np.linspace(1.0, 4.0, 13)
    np.testing.assert_allclose(_track("CUBICSPLINE", values).at(seconds)[:, 0], seconds**3 - 2 * seconds, atol=1e-9)


def test_rotations_take_the_shorter_arc() -> None:
    half = np.sqrt(0.5)
    track = _track("LINEAR", [[0, 0, 0, 1], [0, -half, 0, -half], [0, 1, 0, 0]], "rotation")  # second key negated
    value = track.at(np.array([1.5]))[0]
    expected = np.array([0.0, np.sin(np.pi / 8), 0.0, np.cos(np.pi / 8)])  # half of a quarter turn
    np.testing.assert_allclose(value * np.sign(value[3]), expected, atol=1e-9)


def test_a_vertex_may_have_more_than_four_joints(tmp_path: Path) -> None:
    """Two sets of weights, 3/4 on joint 0 and 1/4 on joint 1, which a clip lifts by 4."""
    made = Gltf.square()
    for number, (joint, share) in enumerate(((0, 0.75), (1, 0.25))):
        made.attribute(f"JOINTS_{number}", np.tile(np.array([joint, 0, 0, 0], np.uint8), (4, 1)))
        made.attribute(f"WEIGHTS_{number}", np.tile(np.array([share, 0, 0, 0], np.float32), (4, 1)))
    made.json["nodes"] = [{"mesh": 0, "skin": 0}, {}, {}]
    made.json["scenes"][0]["nodes"] = [0, 1, 2]
    made.json["skins"] = [{"joints": [1, 2]}]
    times = made.accessor(np.array([0.0, 1.0], np.float32))
    lift = made.accessor(np.array([[0, 0, 0], [0, 4, 0]], np.float32))
    channel = {"sampler": 0, "target": {"node": 2, "path": "translation"}}
    made.json["animations"] = [{"name": "Lift", "channels": [channel], "samplers": [{"input": times, "output": lift}]}]
    file = read_rigged(made.write_glb(tmp_path / "a.glb"))
    moved = _vertices(file, file.named_pose("lift@1")) - file.vertices.numpy()
    np.testing.assert_allclose(moved, np.tile([0.0, 1.0, 0.0], (4, 1)), atol=1e-6)


def test_files_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no file"):
        read_rigged(tmp_path / "nowhere.glb")
    raw = asset_path("rigged", "Shark.glb").read_bytes()
    (tmp_path / "short.glb").write_bytes(raw[: len(raw) // 2])
    (tmp_path / "text.glb").write_bytes(b"hello")
    (tmp_path / "stray.glb").write_bytes(raw.replace(b'"inverseBindMatrices":', b'"inverseBindMatrices":9', 1))
    for name in ("short.glb", "text.glb", "stray.glb"):
        with pytest.raises(BadInput) as caught:
            read_rigged(tmp_path / name)
        assert "\n" not in caught.value.what and name in caught.value.what
