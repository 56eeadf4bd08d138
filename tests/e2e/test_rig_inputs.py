"""What ``rig`` cannot use is one line that says why and what to do, and a rig that was there stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from tests.e2e.command import Printed, animus3d
from tests.meshes.gltf_files import Gltf
from tests.skeletons.test_bone_heat import tube

Array = np.ndarray[Any, Any]


class Skinned(Gltf):
    """Tubes, 2 high and each with two bones, of one file."""

    def __init__(self) -> None:
        super().__init__()
        self.json |= {"nodes": [], "scenes": [{"nodes": []}], "meshes": [], "skins": []}

    def tube(
        self,
        aside: float = 0.0,
        *,
        name: str = "hip",
        scale: tuple[float, float, float] = (1.0, 1.0, 1.0),
        weighted: bool = True,
        hang_on: int | None = None,
    ) -> int:
        """Add one, ``aside`` along x, whose upper bone is scaled; gives the node of its lower bone. The bones hang on
        the node ``hang_on`` where there is one."""
        vertices, faces = tube()
        places = vertices.numpy() + np.array([aside, 0.0, 0.0], np.float32)
        share = np.clip(vertices[:, 1].numpy() - 0.5, 0.0, 1.0)
        weights = np.zeros((len(places), 4), np.float32)
        if weighted:
            weights[:, 0], weights[:, 1] = 1.0 - share, share
        nodes = self.json["nodes"]
        lower = len(nodes)
        nodes += [
            {"name": name, "children": [lower + 1], "translation": [aside, 0.0, 0.0]},
            {"name": f"{name}_end", "translation": [0.0, 1.0, 0.0], "scale": list(scale)},
            {"mesh": len(self.json["meshes"]), "skin": len(self.json["skins"])},
        ]
        if hang_on is None:
            self.json["scenes"][0]["nodes"].append(lower)
        else:
            nodes[hang_on].setdefault("children", []).append(lower)
        self.json["scenes"][0]["nodes"].append(lower + 2)
        world = np.stack([np.eye(4), np.eye(4)])
        world[:, 0, 3] = aside
        world[1, 1, 3] = 1.0
        world[1, :3, :3] = np.diag(scale)
        bind = np.linalg.pinv(world).transpose(0, 2, 1).reshape(2, 16).astype(np.float32)
        self.json["skins"].append({"joints": [lower, lower + 1], "inverseBindMatrices": self.accessor(bind)})
        attributes = {
            "POSITION": self.accessor(places.astype(np.float32)),
            "JOINTS_0": self.accessor(np.tile(np.array([0, 1, 0, 0], np.uint8), (len(places), 1))),
            "WEIGHTS_0": self.accessor(weights),
        }
        indices = self.accessor(faces.numpy().astype(np.uint16).reshape(-1))
        self.json["meshes"].append({"primitives": [{"attributes": attributes, "indices": indices}]})
        return lower

    def clip(self, node: int, path: str, values: list[list[float]]) -> None:
        """A clip Wave that moves a node in a second."""
        times = self.accessor(np.linspace(0.0, 1.0, len(values), dtype=np.float32))
        sampler = {"input": times, "output": self.accessor(np.array(values, np.float32))}
        channel = {"sampler": 0, "target": {"node": node, "path": path}}
        self.json["animations"] = [{"name": "Wave", "channels": [channel], "samplers": [sampler]}]


def made(tmp_path: Path, file: Path) -> Path:
    """A run of a file, with a rig that stands for one that was there before."""
    run = tmp_path / "run"
    animus3d("reconstruct", file, "--num-gaussians", 600, "--run", run)
    return run


def refused(run: Path, *arguments: object) -> str:
    """What ``rig`` says: two short lines, exit code 3; nothing is left behind."""
    before = sorted(run.rglob("*"))
    said: Printed = animus3d("rig", *arguments, "--run", run, code=3)
    assert "Traceback" not in said.stderr
    assert [path for path in sorted(run.rglob("*")) if path.name != ".lock"] == [
        path for path in before if path.name != ".lock"
    ]
    return " ".join(said.stderr.split())


def test_a_ball_has_no_skeleton(tmp_path: Path) -> None:
    trimesh.creation.icosphere(subdivisions=3).export(tmp_path / "ball.obj")
    run = made(tmp_path, tmp_path / "ball.obj")
    said = refused(run)
    assert "nothing to bend" in said or "nor a length" in said
    assert "animus3d distill without --motion skeleton" in said
    none = refused(run, "--skeleton", "file")
    assert "ball.obj has no skeleton" in none and "--skeleton auto" in none


def two_bodies(path: Path) -> Path:
    """Two tubes side by side in one mesh file."""
    vertices, faces = tube()
    one = trimesh.Trimesh(vertices.numpy(), faces.numpy(), process=False)
    other = one.copy()
    other.apply_translation([2.0, 0.0, 0.0])
    trimesh.util.concatenate([one, other]).export(path)
    return path


def test_two_bodies_in_a_mesh(tmp_path: Path) -> None:
    assert "2 separate pieces" in refused(made(tmp_path, two_bodies(tmp_path / "two.obj")))


def test_two_bodies_in_a_splat(tmp_path: Path) -> None:
    first = made(tmp_path, two_bodies(tmp_path / "two.obj"))
    splat = (first / "asset" / "canonical.ply").rename(tmp_path / "two.ply")
    run = tmp_path / "splat"
    animus3d("reconstruct", splat, "--run", run)
    said = refused(run)
    assert "2 separate bodies" in said and "--crop" in said


def test_a_splat_with_its_floor_and_without(tmp_path: Path) -> None:
    """A robot that was generated with the ground below it, and whose hands float: no bones in the ground, some in
    both hands."""
    splat, run = Path("assets/splats/playbot.ply").resolve(), tmp_path / "run"
    said = animus3d("reconstruct", splat, "--run", run)
    assert "--drop-floor" in (said.stderr + said.stdout).replace("\n", " ")
    said = refused(run)
    assert "flat floor" in said and "--drop-floor" in said
    animus3d("reconstruct", splat, "--drop-floor", "--facing", "+z", "--run", run, "--force")
    animus3d("rig", "--run", run)
    names = [joint["name"] for joint in json.loads((run / "rig" / "skeleton.json").read_text())["joints"]]
    assert {"left_limb_1", "right_limb_1"} <= set(names)


def test_weights_that_are_all_zero(tmp_path: Path) -> None:
    file = Skinned()
    file.tube(weighted=False)
    said = refused(made(tmp_path, file.write_glb(tmp_path / "a.glb")))
    assert "all weights are zero" in said and "--skeleton auto" in said


@pytest.mark.parametrize(
    ("scale", "word"), [((1.0, 3.0, 1.0), "unevenly"), ((-1.0, 1.0, 1.0), "mirrored"), ((0.0, 0.0, 0.0), "")]
)
def test_bones_that_cannot_turn(tmp_path: Path, scale: tuple[float, float, float], word: str) -> None:
    file = Skinned()
    file.tube(scale=scale)
    said = refused(made(tmp_path, file.write_glb(tmp_path / "a.glb")))
    assert word in said and ("hip_end" in said or not word)


def test_a_clip_that_moves_a_node_that_is_not_there(tmp_path: Path) -> None:
    file = Skinned()
    file.tube()
    file.clip(77, "translation", [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    said = refused(made(tmp_path, file.write_glb(tmp_path / "a.glb")))
    assert "Wave" in said and "node 77" in said


def test_a_channel_without_a_node_is_ignored_as_gltf_says(tmp_path: Path) -> None:
    file = Skinned()
    lower = file.tube()
    file.clip(lower + 1, "rotation", [[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.6, 0.8]])
    file.json["animations"][0]["channels"].append({"sampler": 0, "target": {"path": "translation"}})
    run = made(tmp_path, file.write_glb(tmp_path / "a.glb"))
    assert "2 joints" in animus3d("rig", "--run", run).stdout


def test_helpers_that_are_scaled_to_nothing_do_no_harm(tmp_path: Path) -> None:
    """Artists hide controls so, and clips hide things."""
    file = Skinned()
    lower = file.tube()
    file.json["nodes"][lower]["children"].append(len(file.json["nodes"]))
    file.json["nodes"].append({"name": "control", "scale": [0.0, 0.0, 0.0]})
    file.clip(lower + 1, "scale", [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    run = made(tmp_path, file.write_glb(tmp_path / "a.glb"))
    assert "2 joints" in animus3d("rig", "--run", run).stdout


def test_two_skinned_bodies_in_one_file_are_refused(tmp_path: Path) -> None:
    file = Skinned()
    file.tube(name="anna")
    file.tube(3.0, name="berta")
    said = refused(made(tmp_path, file.write_glb(tmp_path / "a.glb")))
    assert "anna" in said and "berta" in said and "alone" in said


@pytest.mark.parametrize("how", ["touching", "one root"])
def test_two_skins_of_one_body_are_one_tree(tmp_path: Path, how: str) -> None:
    """A rider on a horse; and two bodies whose bones hang on one joint."""
    file = Skinned()
    lower = file.tube(name="horse")
    if how == "touching":
        file.tube(0.6, name="rider")
    else:
        file.tube(3.0, name="rider", hang_on=lower)
    run = made(tmp_path, file.write_glb(tmp_path / "a.glb"))
    assert "4 joints" in animus3d("rig", "--run", run).stdout


def test_a_rig_that_was_there_stays_when_another_cannot_be_made(tmp_path: Path) -> None:
    file = Skinned()
    lower = file.tube()
    path = file.write_glb(tmp_path / "a.glb")
    run = made(tmp_path, path)
    animus3d("rig", "--run", run)
    before = {part: part.read_bytes() for part in (run / "rig").rglob("*") if part.is_file()}
    file.clip(lower + 99, "translation", [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    file.write_glb(path)
    assert "node" in refused(run, "--force")
    trimesh.creation.icosphere(subdivisions=3).export(tmp_path / "ball.obj")
    refused(run, "--skeleton", "file", "--mesh", tmp_path / "ball.obj", "--force")
    other = Skinned()
    other.tube(scale=(1.0, 3.0, 1.0))
    other.write_glb(path)
    assert "unevenly" in refused(run, "--force")
    assert {part: part.read_bytes() for part in (run / "rig").rglob("*") if part.is_file()} == before
