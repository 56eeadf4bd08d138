"""Skinned files in other programs, where they are installed: Khronos' glTF validator, and Blender.

    npm ci --ignore-scripts --prefix tests/readers
    python3.11 -m venv V; V/bin/pip install bpy==5.0.1          ANIMUS3D_BLENDER_PYTHON=V/bin/python

or ``make readers``, which reads all other formats too (``tests/readers``).
Blender has an environment of its own: its numpy is older than ours.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.exporting.skinned import SkinnedClip
from stages.exporting.skinned_stand_in import skin_stand_in
from tests.exporting.motions import ASSETS, Reader, arm, some_motion
from tests.exporting.test_skinned import AS_IT_IS, CLOSE, FILES, FRAMES, TURNED, exported
from tests.exporting.test_skinned_mesh import RIGGED, of_rigged, scene, written
from tests.readers.programs import BLENDER, NotInstalled, node

__all__ = ["scene"]

FPS = 12

pytestmark = pytest.mark.slow


def stand_in() -> bytes:
    rig = arm()
    matrices = some_motion(list(rig.joints.parents), rig.joints.heads, FRAMES)
    clip = SkinnedClip(name="made up", matrices=matrices, fps=FPS, loop=True)
    return skin_stand_in(rig, torch.rand(40, 3, generator=torch.Generator().manual_seed(0)), [clip], title="an arm")


def issues(path: Path) -> Counter[tuple[int, str]]:
    """How many errors (0), warnings (1) and remarks of each kind the validator has."""
    try:
        found = node("validate.mjs", path, package="gltf-validator")
    except NotInstalled as error:
        pytest.skip(str(error))
    return Counter((severity, code) for severity, code, _ in found)


@pytest.mark.parametrize("name", FILES)
def test_the_validator_finds_nothing_that_the_source_has_not(name: str, tmp_path: Path) -> None:
    (tmp_path / "out.glb").write_bytes(exported(ASSETS / f"{name}.glb", AS_IT_IS, loop=True)[0])
    assert issues(tmp_path / "out.glb") == issues(ASSETS / f"{name}.glb")


def test_the_validator_finds_nothing_in_a_stand_in(tmp_path: Path) -> None:
    (tmp_path / "out.glb").write_bytes(stand_in())
    assert not issues(tmp_path / "out.glb")


@pytest.mark.parametrize("name", RIGGED)
def test_the_validator_finds_nothing_in_a_mesh_with_new_bones(name: str, tmp_path: Path) -> None:
    (tmp_path / "out.glb").write_bytes(of_rigged(name, TURNED)[0])
    assert issues(tmp_path / "out.glb") <= issues(ASSETS / f"{name}.glb")


def test_the_validator_finds_nothing_in_a_plain_scene_with_new_bones(scene: Path, tmp_path: Path) -> None:
    (tmp_path / "out.glb").write_bytes(written(scene, Reader(scene.read_bytes()).vertices(), TURNED)[0])
    assert issues(tmp_path / "out.glb") <= issues(scene)


NEW_BONES = [f"new bones {name}" for name in RIGGED]


@pytest.mark.parametrize(
    "name", ["rigged/Horse", "rigged/Knight", "rigged/Fox", "rigged/ShibaInu", "stand-in", *NEW_BONES]
)
def test_blender_has_bones_and_vertices_where_we_have_them(name: str, tmp_path: Path) -> None:
    python = os.environ.get(BLENDER)
    if not python:
        pytest.skip(f"needs a Python with bpy, see {BLENDER}")
    if name in NEW_BONES:
        data = of_rigged(name.removeprefix("new bones "), TURNED, loop=True)[0]
    else:
        data = exported(ASSETS / f"{name}.glb", TURNED, merged=True, loop=True)[0] if "/" in name else stand_in()
    (tmp_path / "in.glb").write_bytes(data)
    command = [python, str(Path(__file__).with_name("blender_reads.py")), str(tmp_path / "in.glb"), "made up"]
    command += [str(FPS), str(FRAMES + 1), str(tmp_path / "out.npz")]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    seen, read = np.load(tmp_path / "out.npz"), Reader(data)
    np.testing.assert_allclose(seen["range"], [0, FRAMES], atol=1e-4)
    assert sorted(clip.name for clip in read.gltf.animations) == seen["actions"].tolist()
    names = [node.name for node in read.gltf.nodes]
    bones = [names.index(bone) for bone in seen["bones"]]
    assert len(bones) >= len(read.gltf.skins[0].joints)
    first, diagonal = np.array(read.worlds("made up", 0.0))[bones], np.linalg.norm(np.ptp(read.vertices(), axis=0))
    for t in range(FRAMES + 1):
        expected = read.vertices("made up", t / FPS)
        assert np.abs(seen["vertices"][t] - expected).max() < CLOSE * diagonal
        ours = np.array(read.worlds("made up", t / FPS))[bones] @ np.linalg.inv(first)  # since the first frame
        theirs = seen["poses"][t] @ np.linalg.inv(seen["poses"][0])
        heads = np.concatenate([first[:, :3, 3], np.ones((len(bones), 1))], axis=1)
        away = np.einsum("bij,bj->bi", theirs - ours, heads)
        assert np.abs(away).max() < CLOSE * diagonal
        assert np.abs((theirs - ours)[:, :3, :3]).max() < CLOSE
