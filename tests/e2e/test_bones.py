"""A body with bones, from the command line: rig, distill --motion skeleton, export of a rig that others open."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from stages.assets import asset_path
from stages.exporting.glb import read_mesh
from stages.meshes.surface import sample_surface
from stages.moving.asset import load_moving_asset
from stages.run_dir import RunDir
from stages.skeletons.rigged import read_rigged
from stages.skeletons.skeleton import skin
from stages.skeletons.write_glb import glb_bytes
from stages.status import run as status
from tests.e2e.command import animus3d

FOX = asset_path("rigged", "Fox.glb")


@pytest.fixture(scope="module")
def fox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a rig and a motion of it."""
    run = tmp_path_factory.mktemp("bones") / "fox"
    animus3d("reconstruct", FOX, "--num-gaussians", 1500, "--run", run)
    animus3d("rig", "--run", run)
    animus3d("distill", "--motion", "skeleton", "--prompt", "a walking fox", "--steps", 4, "--run", run)
    return run


def test_rig_writes_what_it_says_and_once(fox: Path) -> None:
    found = json.loads((fox / "rig" / "skeleton.json").read_text())["joints"]
    assert 10 < len(found) <= 24 and sum(joint["parent"] is None for joint in found) == 1
    assert (fox / "rig" / "preview.png").stat().st_size > 5000
    again = animus3d("rig", "--run", fox)
    assert "already done" in again.stdout


def test_the_motion_is_of_the_bones_and_moves(fox: Path) -> None:
    asset = load_moving_asset(RunDir(fox), "auto", "cpu")
    assert asset.motion is not None and asset.motion.kind == "skeleton" and asset.closes
    moves = asset.displacements(asset.gaussians.means, asset.times(8))
    assert float(moves.norm(dim=-1).amax()) > 0.1


def follows_gaussians(out: Path, run: Path) -> None:
    """The surface in the file is where the Gaussians of ``run`` are."""
    file = read_rigged(out)
    asset = load_moving_asset(RunDir(run), "auto", "cpu")
    count = round(16 * file.clip_seconds("Stroll"))
    frames = asset.in_file(asset.at(asset.times(count))).means
    pose = file.pose("Stroll", torch.arange(count) / 16.0)
    vertices = skin(file.vertices, file.weights, file.skeleton.joint_matrices(pose))
    for frame in (0, count // 3):
        surface = vertices[frame][file.faces]
        samples = sample_surface(vertices[frame], file.faces, 40_000, torch.Generator().manual_seed(0))
        away = cKDTree(samples.interpolate(surface).numpy()).query(frames[frame].numpy())[0]
        assert np.median(away) < 0.005 * np.linalg.norm(np.ptp(frames[frame].numpy(), axis=0))


def test_a_skinned_file_is_the_assets_own_and_goes_where_the_gaussians_go(fox: Path, tmp_path: Path) -> None:
    out = tmp_path / "fox.glb"
    animus3d("export", "--format", "glb", "--skinned", "--name", "Stroll", "--out", out, "--run", fox)
    own, file = read_rigged(FOX), read_rigged(out)
    assert list(file.clips) == [*own.clips, "Stroll"] and file.names == own.names
    follows_gaussians(out, fox)


def test_two_motions_go_into_one_file_and_a_skeleton_alone_into_bvh(fox: Path, tmp_path: Path) -> None:
    other = tmp_path / "jumps"
    animus3d(
        "distill", "--motion", "skeleton", "--prompt", "a jumping fox", "--steps", 2, "--from", fox, "--run", other
    )
    out = tmp_path / "both.glb"
    animus3d("export", "--format", "glb", "--skinned", "--add", other, "--name", "Jump", "--out", out, "--run", fox)
    assert list(read_rigged(out).clips)[-2:] == ["a walking fox", "Jump"]
    animus3d("export", "--format", "bvh", "--out", tmp_path / "fox.bvh", "--run", fox)
    assert (tmp_path / "fox.bvh").read_text().startswith("HIERARCHY")


def test_joints_by_hand(fox: Path, tmp_path: Path) -> None:
    told = json.loads((fox / "rig" / "skeleton.json").read_text())
    told["joints"][0]["name"] = "my_root"
    for joint in told["joints"]:
        joint["parent"] = "my_root" if joint["parent"] == "b_Hip_01" else joint["parent"]
    (tmp_path / "joints.json").write_text(json.dumps(told))
    run = tmp_path / "fox"
    shutil.copytree(fox, run)
    refused = animus3d("rig", "--skeleton", tmp_path / "joints.json", "--run", run, code=5)
    assert "--force" in refused.stderr
    animus3d("rig", "--skeleton", tmp_path / "joints.json", "--force", "--run", run)
    assert json.loads((run / "rig" / "skeleton.json").read_text())["joints"][0]["name"] == "my_root"
    (motion,) = [stage for stage in status(RunDir(run)).stages if stage.folder == "motion"]
    assert motion.state == "outdated" and "another rig" in motion.problem
    told["joints"][1]["parent"] = "nobody"
    (tmp_path / "joints.json").write_text(json.dumps(told))
    wrong = animus3d("rig", "--skeleton", tmp_path / "joints.json", "--run", run, code=3)
    assert "nobody" in wrong.stderr
    assert json.loads((run / "rig" / "skeleton.json").read_text())["joints"][0]["name"] == "my_root"


def test_what_lacks_a_skeleton_says_so(tmp_path: Path) -> None:
    run = tmp_path / "deer"
    animus3d("reconstruct", asset_path("splats", "deer.ply"), "--run", run)
    none = animus3d("rig", "--skeleton", "file", "--run", run, code=3)
    assert "--skeleton auto" in none.stderr
    early = animus3d("distill", "--motion", "skeleton", "--prompt", "a walking deer", "--run", run, code=4)
    assert "animus3d rig" in early.stderr


def without_bones(path: Path) -> bytes:
    """The ``.glb`` at ``path`` without its skin and clips: a mesh with a texture, and nothing else."""
    data = path.read_bytes()
    length = int.from_bytes(data[12:16], "little")
    told = json.loads(data[20 : 20 + length])
    del told["skins"], told["animations"]
    for node in told["nodes"]:
        node.pop("skin", None)
    for mesh in told["meshes"]:
        for part in mesh["primitives"]:
            part["attributes"] = {
                n: i for n, i in part["attributes"].items() if not n.startswith(("JOINTS", "WEIGHTS"))
            }
    return glb_bytes(told, data[28 + length :])


def test_a_mesh_without_bones_comes_back_with_them(tmp_path: Path) -> None:
    plain, run, out = tmp_path / "plain.glb", tmp_path / "run", tmp_path / "moving.glb"
    plain.write_bytes(without_bones(FOX))
    animus3d("reconstruct", plain, "--num-gaussians", 1500, "--run", run)
    animus3d("rig", "--skeleton", "auto", "--run", run)
    animus3d("distill", "--motion", "skeleton", "--prompt", "a walking fox", "--steps", 2, "--run", run)
    said = animus3d("export", "--format", "glb", "--skinned", "--name", "Stroll", "--out", out, "--run", run)
    assert "on plain.glb" in said.stdout.replace("\n", " ")
    before, after = read_mesh(plain), read_mesh(out)
    assert after.num_vertices == before.num_vertices
    assert len(after.gltf.images) == len(before.gltf.images) and after.gltf.materials == before.gltf.materials
    joints = json.loads((run / "rig" / "skeleton.json").read_text())["joints"]
    assert [joint["name"] for joint in joints] == [read_rigged(out).names[k] for k in read_rigged(out).joints]
    follows_gaussians(out, run)
    horse = FOX.with_name("Horse.glb")
    other = animus3d("export", "--format", "glb", "--skinned", "--mesh", horse, "--out", out, "--run", run, code=3)
    assert "Horse.glb" in other.stderr
    plain.unlink()
    gone = animus3d("export", "--format", "glb", "--skinned", "--out", tmp_path / "other.glb", "--run", run)
    assert "stands in" in gone.stdout.replace("\n", " ")
