"""A mesh asset that comes back as its own mesh with the bones of a rig that is not the file's; read again by hand."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from stages.errors import BadInput
from stages.exporting.skinned_mesh import skin_plain_mesh
from stages.exporting.skinned_stand_in import skin_stand_in
from stages.meshes.placement import Placement
from stages.meshes.write_plain import as_glb
from stages.skeletons.rig import Joints, Rig, Skin
from stages.skeletons.rigged import read_rigged
from stages.skeletons.skeleton import skin
from stages.skeletons.write_glb import glb_bytes
from tests.exporting.motions import ASSETS, Reader, some_motion
from tests.exporting.test_glb import body
from tests.exporting.test_skinned import AS_IT_IS, CLOSE, FRAMES, TURNED, SkinnedClip, contents

FPS = 12
RIGGED = ["rigged/Fox", "rigged/Kenney", "rigged/ShibaInu", "bodies/cubepet_fox"]


def chain(points: Tensor, faces: Tensor, num: int = 6) -> Rig:
    """Joints along the longest side of ``points`` [V, 3], with soft weights: five and more matter at some."""
    low, high = points.amin(dim=0), points.amax(dim=0)
    side = int((high - low).argmax())
    heads = (0.5 * (low + high)).repeat(num, 1)
    heads[:, side] = torch.linspace(float(low[side]), float(high[side]), num)
    tails = torch.cat([heads[1:], 2 * heads[-1:] - heads[-2:-1]])
    names = tuple(f"bone {k}" for k in range(num))
    joints = Joints(names=names, parents=tuple(range(-1, num - 1)), heads=heads, tails=tails, limits_deg=(None,) * num)
    size = float((high - low).norm())
    weights = torch.softmax(-20.0 * ((points[:, None] - heads) / size).square().sum(-1), dim=1)
    return Rig(joints=joints, skin=Skin(vertices=points, faces=faces, weights=weights), found="hand")


def written(
    path: Path, rest: np.ndarray[Any, Any], placement: Placement, posed: Tensor | None = None, *, loop: bool = False
) -> Any:
    """The file's bytes, and where all its vertices have to be [T + 1, V, 3], at rest first: ``rest`` [V, 3]. NaN where
    two points of the rig's surface are equally near, and rounding decides."""
    points = torch.from_numpy(rest).float()
    of_asset = placement.to_asset(points)
    hull = trimesh.convex.convex_hull(of_asset.numpy())
    rig = chain(torch.from_numpy(np.array(hull.vertices)).float(), torch.from_numpy(np.array(hull.faces)))
    matrices = some_motion(list(rig.joints.parents), rig.joints.heads, FRAMES)
    clip = SkinnedClip(name="made up", matrices=matrices, fps=FPS, loop=loop)
    data = skin_plain_mesh(path, rig, placement, [clip], posed=posed, credit="somebody")
    moved = skin(of_asset.double(), rig.skin.weights_at(of_asset).double(), matrices.double())
    to_file = torch.linalg.inv(placement.matrix())
    there = moved @ to_file[:3, :3].T + to_file[:3, 3]
    aside = 1e-5 * float((of_asset.amax(dim=0) - of_asset.amin(dim=0)).norm())
    for shift in aside * torch.cat([torch.eye(3), -torch.eye(3)]):
        changes = (rig.skin.weights_at(of_asset + shift) - rig.skin.weights_at(of_asset)).abs().amax(dim=1)
        there[:, changes > 5e-4] = torch.nan
    assert float(there.isnan().double().mean()) < 0.2
    return data, np.concatenate([rest[None], there.numpy()])


@functools.cache
def of_rigged(name: str, placement: Placement, clip: str | None = None, *, loop: bool = False) -> Any:
    path = ASSETS / f"{name}.glb"
    file, source = read_rigged(path), Reader(path.read_bytes())
    clip = next((own for own in file.clips if clip and clip in own), None)
    local = file.bind_local if clip is None else file.pose(clip, torch.zeros(1))
    return written(path, source.vertices(clip, 0.0), placement, file.skeleton.joint_matrices(local)[0], loop=loop)


def check(data: bytes, expected: np.ndarray[Any, Any]) -> None:
    """Vertices are where they have to be, and they move."""
    there, diagonal = Reader(data), np.linalg.norm(np.ptp(expected[0], axis=0))
    assert np.abs(there.vertices() - expected[0]).max() < 1e-6 * diagonal + 1e-6 * np.abs(expected[0]).max()
    assert np.nanmax(np.abs(expected[3] - expected[0])) > 0.05 * diagonal
    for t in range(FRAMES):
        assert np.nanmax(np.abs(there.vertices("made up", t / FPS) - expected[1 + t])) < CLOSE * diagonal


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A textured slab, and a ball that two turned and stretched nodes show, one of them mirrored; below a node."""
    path = tmp_path_factory.mktemp("mesh") / "body.glb"
    made = body()
    mirrored = np.diag([-1.0, 1.0, 1.0, 1.0])
    mirrored[:3, 3] = (-1.0, 0.6, 0.3)
    made.add_geometry(made.geometry["ball"], geom_name="ball", transform=mirrored)
    made.export(path, include_normals=True)
    return path


@pytest.mark.parametrize("name", RIGGED)
@pytest.mark.parametrize("placement", [AS_IT_IS, TURNED], ids=["own", "turned"])
def test_a_file_with_a_skeleton_that_was_not_wanted(name: str, placement: Placement) -> None:
    check(*of_rigged(name, placement))


def test_in_the_pose_of_the_asset() -> None:
    data, expected = of_rigged("rigged/Fox", TURNED, "Run")
    at_bind = of_rigged("rigged/Fox", TURNED)[1]
    assert np.abs(expected[0] - at_bind[0]).max() > 0.02 * np.linalg.norm(np.ptp(expected[0], axis=0))
    check(data, expected)


@pytest.mark.parametrize("placement", [AS_IT_IS, TURNED], ids=["own", "turned"])
def test_a_plain_scene(scene: Path, placement: Placement) -> None:
    data, expected = written(scene, Reader(scene.read_bytes()).vertices(), placement)
    check(data, expected)
    new, part_of = contents(data), Reader(data)
    shown = [node for node in new["nodes"] if "mesh" in node]
    assert sorted({node["mesh"] for node in shown}) == [0, 1, 2, 3]  # one for each node
    assert all(node.keys() <= {"name", "mesh", "skin"} for node in shown)
    assert all("JOINTS_1" in part["attributes"] for mesh in new["meshes"] for part in mesh["primitives"])
    for mesh in new["meshes"]:  # faces look where normals do: also the mirrored one's
        part = mesh["primitives"][0]
        points, normals = (part_of.values(part["attributes"][name]) for name in ("POSITION", "NORMAL"))
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-5)
        a, b, c = (points[part_of.values(part["indices"])[:, 0].astype(int).reshape(-1, 3)[:, k]] for k in range(3))
        corner = part_of.values(part["indices"])[:, 0].astype(int).reshape(-1, 3)[:, 0]
        outwards = (np.cross(b - a, c - a) * normals[corner]).sum(axis=1)
        assert (outwards > 0).mean() > 0.99


@pytest.mark.parametrize("suffix", [".obj", ".stl", ".ply"])
def test_other_kinds_of_files(suffix: str, tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(subdivisions=2, radius=0.5)
    ball.apply_transform(np.diag([3.0, 1.0, 1.0, 1.0]))
    path = tmp_path / f"ball{suffix}"
    ball.export(path)
    check(*written(path, Reader(as_glb(path)).vertices(), TURNED))


def looks(data: bytes) -> Any:
    """Materials, textures and pictures; and of each primitive, in the order of nodes, its material and the values of
    what is no place and no skin."""
    told, read = contents(data), Reader(data)
    start = 28 + int.from_bytes(data[12:16], "little")
    pictures = []
    for image in told.get("images", []):
        view = told["bufferViews"][image.pop("bufferView")]
        pictures.append(data[start + view.get("byteOffset", 0) :][: view["byteLength"]])
    parts = []
    for node in told["nodes"]:
        for part in told["meshes"][node["mesh"]]["primitives"] if "mesh" in node else []:
            own = {name: i for name, i in part["attributes"].items() if name.startswith(("TEXCOORD", "COLOR"))}
            parts.append((part.get("material"), {name: read.values(i).tolist() for name, i in own.items()}))
    kept = {key: told.get(key) for key in ("materials", "textures", "images", "samplers")}
    return json.loads(json.dumps(kept)), pictures, parts


@pytest.mark.parametrize("name", RIGGED)
def test_looks_stay_and_old_bones_go(name: str) -> None:
    before, after = (ASSETS / f"{name}.glb").read_bytes(), of_rigged(name, AS_IT_IS)[0]
    assert looks(after) == looks(before)
    new = contents(after)
    assert [clip["name"] for clip in new["animations"]] == ["made up"] and len(new["skins"]) == 1
    assert new["nodes"][0]["name"] == "Armature" and [n["name"] for n in new["nodes"][1:7]] == [
        f"bone {k}" for k in range(6)
    ]
    assert len(new["nodes"]) == 7 + len(new["meshes"])
    assert new["asset"]["copyright"].endswith("somebody")
    used = {i for mesh in new["meshes"] for part in mesh["primitives"] for i in part["attributes"].values()}
    used |= {part["indices"] for mesh in new["meshes"] for part in mesh["primitives"] if "indices" in part}
    used |= {s[key] for clip in new["animations"] for s in clip["samplers"] for key in ("input", "output")}
    assert used | {new["skins"][0]["inverseBindMatrices"]} == set(range(len(new["accessors"])))


def test_looks_of_a_plain_scene_stay(scene: Path) -> None:
    before = scene.read_bytes()
    data, _ = written(scene, Reader(before).vertices(), AS_IT_IS)
    assert looks(data) == looks(before)
    assert looks(data)[1]


def test_cameras_and_lights_stay_and_shapes_become_the_shape(tmp_path: Path) -> None:
    clip = SkinnedClip(name="swing", matrices=torch.eye(4).repeat(3, 2, 1, 1), fps=8)
    rig = chain(torch.rand(20, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([[0, 1, 2], [2, 3, 4]]), 2)
    path = tmp_path / "made.glb"
    path.write_bytes(skin_stand_in(rig, torch.rand(20, 3), [clip]))
    told, blob = contents(path.read_bytes()), Reader(path.read_bytes()).blob
    part = told["meshes"][0]["primitives"][0]
    del told["skins"], told["animations"]
    part["attributes"] = {name: part["attributes"][name] for name in ("POSITION", "NORMAL", "COLOR_0")}
    part["targets"] = [{"POSITION": part["attributes"]["NORMAL"]}]
    told["meshes"][0] |= {"weights": [0.5], "extras": {"targetNames": ["puffed"], "kept": 1}}
    told["cameras"] = [{"type": "perspective", "perspective": {"yfov": 1.0, "znear": 0.1}}]
    told["nodes"] = [
        {"name": "eye", "camera": 0, "translation": [0, 0, 5]},
        {"name": "above", "translation": [1, 2, 3], "children": [0, 2, 3]},
        {"name": "mesh", "mesh": 0},
        {"name": "empty"},
    ]
    told["scenes"] = [{"nodes": [1]}]
    path.write_bytes(glb_bytes(told, blob))
    data = skin_plain_mesh(path, rig, AS_IT_IS, [clip])
    new, read = contents(data), Reader(data)
    names = [node["name"] for node in new["nodes"]]
    assert names == ["Armature", "bone 0", "bone 1", "mesh", "eye", "above"]
    assert new["nodes"][5] == {"name": "above", "translation": [1, 2, 3], "children": [4]}
    assert new["scenes"] == [{"nodes": [0, 3, 5]}]
    assert new["meshes"][0]["extras"] == {"kept": 1} and "weights" not in new["meshes"][0]
    old = Reader(path.read_bytes())
    puffed = old.values(part["attributes"]["POSITION"]) + 0.5 * old.values(part["attributes"]["NORMAL"])
    np.testing.assert_allclose(read.vertices(), puffed + np.array([1.0, 2.0, 3.0]), atol=1e-6)


def test_what_does_not_fit_is_refused(scene: Path, tmp_path: Path) -> None:
    rig = chain(torch.rand(20, 3), torch.tensor([[0, 1, 2]]))
    other = SkinnedClip(name="of one joint", matrices=torch.eye(4).repeat(3, 1, 1, 1), fps=8)
    for path, clips, culprit in (
        (scene, [], "no motion"),
        (scene, [other], "of one joint"),
        (tmp_path / "none.glb", [SkinnedClip(name="a", matrices=torch.eye(4).repeat(3, 6, 1, 1), fps=8)], "none.glb"),
        (tmp_path / "none.obj", [SkinnedClip(name="a", matrices=torch.eye(4).repeat(3, 6, 1, 1), fps=8)], "none.obj"),
    ):
        with pytest.raises(BadInput, match=culprit):
            skin_plain_mesh(path, rig, AS_IT_IS, clips)
