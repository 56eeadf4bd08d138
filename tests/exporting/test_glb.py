"""The mesh with its motion, opened again: vertices go where the field says, the rest of the file stays; other meshes
do not pass for the asset's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pygltflib
import pytest
import torch
import trimesh
from PIL import Image

from stages.assets import asset_path
from stages.conventions import frame_times
from stages.errors import BadInput
from stages.events import silent
from stages.export import ExportConfig
from stages.export import run as export
from stages.exporting.glb import read_mesh
from stages.gaussians.mesh import gaussians_from_mesh
from stages.gaussians.transform import UPRIGHT, turn_upright
from stages.geometry.rotations import quaternion_matrices
from stages.meshes.gltf import read_accessor
from stages.meshes.placement import find_placement
from stages.moving.asset import load_moving_asset
from stages.skeletons.rigged import read_rigged
from tests.exporting.runs import moving_run

CONFIG = ExportConfig(format="glb", frames=4, fps=10, credit="somebody")


def body() -> trimesh.Scene:
    """No two of its sides are alike: a textured slab, and a ball that two turned and stretched nodes show."""
    slab = trimesh.creation.box((2.0, 0.4, 0.8))
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (4, 4, 3), dtype=np.uint8))
    slab.visual = trimesh.visual.TextureVisuals(
        uv=slab.vertices[:, :2], material=trimesh.visual.material.PBRMaterial(baseColorTexture=picture)
    )
    scene = trimesh.Scene()
    scene.add_geometry(slab, geom_name="slab")
    ball = trimesh.creation.icosphere(subdivisions=2, radius=0.3)
    ball.visual.vertex_colors = [200, 30, 30, 255]
    for angle, place in ((0.4, (0.9, 0.5, 0.2)), (1.1, (0.4, 0.9, -0.5))):
        pose = trimesh.transformations.rotation_matrix(angle, (0.3, 1.0, 0.2), place)
        pose[:3, 3] = place
        pose[:3, :3] = pose[:3, :3] @ np.diag([1.0, 2.0, 0.5])
        scene.add_geometry(ball, geom_name="ball", transform=pose)
    return scene


@pytest.fixture(scope="module")
def mesh_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mesh") / "body.glb"
    body().export(path, include_normals=True)
    return path


def run_of(mesh: Path, folder: Path, up: str = "y", strength: float = 1.0) -> Any:
    asset = gaussians_from_mesh(mesh, 1500, torch.Generator().manual_seed(0))
    return moving_run(folder, turn_upright(asset, up), source=str(mesh), prompt="a body", strength=strength)


def poses(path: Path) -> tuple[list[torch.Tensor], list[torch.Tensor], Any]:
    """For each node its vertices [T + 1, V, 3] in the world, at rest first, and its normals, by glTF's rules."""
    gltf = pygltflib.GLTF2().load(str(path))
    assert gltf is not None
    blob = gltf.binary_blob()
    sampler = gltf.animations[0].samplers[0]
    times = read_accessor(gltf, blob, sampler.input)
    np.testing.assert_allclose(times[:, 0], np.arange(4) / 10.0, atol=1e-6)
    positions, normals = [], []
    worlds = {part.node: part.world_node for part in read_mesh(path).parts}
    for channel in gltf.animations[0].channels:
        primitive = gltf.meshes[gltf.nodes[channel.target.node].mesh].primitives[0]
        weights = read_accessor(gltf, blob, sampler.output).reshape(4, len(primitive.targets))
        world = worlds[channel.target.node]
        moved = []
        for name in ("POSITION", "NORMAL"):
            if getattr(primitive.attributes, name) is None:
                continue
            rest = read_accessor(gltf, blob, getattr(primitive.attributes, name))
            named = [target if isinstance(target, dict) else vars(target) for target in primitive.targets]
            targets = np.stack([read_accessor(gltf, blob, target[name]) for target in named])
            moved.append(torch.from_numpy(rest + np.concatenate([0 * rest[None], np.tensordot(weights, targets, 1)])))
        positions.append(moved[0] @ world[:3, :3].T + world[:3, 3])
        normals += moved[1:]
    return positions, normals, gltf


def field_says(run: Any, vertices: torch.Tensor, up: str) -> torch.Tensor:
    """Where the field puts the file's ``vertices``: [T, V, 3] in the file's frame."""
    asset = load_moving_asset(run, "auto", "cpu")
    R = quaternion_matrices(torch.tensor(UPRIGHT[up]))
    return vertices + asset.file_displacements(vertices @ R.T, frame_times(4)) @ R


@pytest.mark.parametrize("up", ["y", "-z"])
def test_vertices_go_where_the_field_says(mesh_file: Path, tmp_path: Path, up: str) -> None:
    run, out = run_of(mesh_file, tmp_path / "run", up), tmp_path / "moving.glb"
    export(run, CONFIG, silent, out=out)  # --mesh is what reconstruct read
    positions, normals, gltf = poses(out)
    assert len(positions) == 3 and len(gltf.images) == 1 and gltf.asset.copyright == "somebody, animated with animus3d"
    for vertices, turned in zip(positions, normals, strict=True):
        expected = field_says(run, vertices[0], up)
        assert (expected[3] - expected[0]).abs().max() > 0.02
        torch.testing.assert_close(vertices[1:], expected, atol=2e-5, rtol=0)
        torch.testing.assert_close(turned.norm(dim=-1), torch.ones(turned.shape[:2]), atol=1e-3, rtol=0)
    source = trimesh.load_scene(mesh_file)
    again = trimesh.load_scene(out)
    np.testing.assert_allclose(again.bounds, source.bounds, atol=1e-6)  # at rest it is the source
    assert {type(m.visual).__name__ for m in again.dump()} == {type(m.visual).__name__ for m in source.dump()}
    for node in gltf.meshes:
        assert [primitive.attributes.POSITION for primitive in node.primitives]


def test_normals_turn_with_the_surface(mesh_file: Path, tmp_path: Path) -> None:
    """The slab's corners lean out of its faces; after the motion they lean out of the moved faces as much."""
    run, out = run_of(mesh_file, tmp_path / "run", strength=0.3), tmp_path / "moving.glb"
    export(run, CONFIG, silent, out=out)
    positions, normals, _ = poses(out)
    slab = int(np.argmin([vertices.shape[1] for vertices in positions]))
    faces = min(read_mesh(out).parts, key=lambda part: len(part.vertices)).faces

    def lean(vertices: torch.Tensor, leaning: torch.Tensor) -> float:
        a, b, c = vertices[faces].unbind(dim=1)
        upright = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1)
        return float((leaning[faces].mean(dim=1) * upright).sum(dim=-1).mean())

    rest, moved = positions[slab][0], positions[slab][4]
    at_rest, turned = lean(rest, normals[slab][0]), lean(moved, normals[slab][4])
    assert lean(moved, normals[slab][0]) < at_rest  # the motion turns faces
    assert abs(turned - at_rest) < abs(lean(moved, normals[slab][0]) - at_rest)


def test_an_obj_and_a_scaled_asset(tmp_path: Path) -> None:
    mesh = trimesh.util.concatenate(body().dump())
    mesh.visual = trimesh.visual.ColorVisuals(mesh)
    mesh.export(tmp_path / "body.obj")
    asset = gaussians_from_mesh(tmp_path / "body.obj", 1500, torch.Generator().manual_seed(0))
    moved = type(asset)(**{**vars(asset), "means": 0.25 * asset.means + torch.tensor([3.0, 0.0, -1.0])})
    run = moving_run(tmp_path / "run", moved, source="body.ply", prompt="a body")
    with pytest.raises(BadInput, match="not made from a mesh"):
        export(run, CONFIG, silent, out=tmp_path / "moving.glb")
    export(run, CONFIG, silent, out=tmp_path / "moving.glb", mesh=tmp_path / "body.obj")
    (vertices, *_), _, _ = poses(tmp_path / "moving.glb")
    placement = find_placement(*read_mesh(tmp_path / "body.obj").surface(), moved.means)
    assert placement is not None and placement.offset is not None
    assert placement.scale == pytest.approx(0.25, rel=0.01)
    torch.testing.assert_close(placement.offset, torch.tensor([3.0, 0.0, -1.0]), atol=0.005, rtol=0)
    there = load_moving_asset(run, "auto", "cpu").file_displacements(placement.to_asset(vertices[0]), frame_times(4))
    expected = placement.moves_to_file(there)
    assert (vertices[1:] - vertices[0] - expected).abs().max() < 1e-4 * expected.abs().max()


def test_however_it_was_turned_the_mesh_is_found(mesh_file: Path) -> None:
    asset = gaussians_from_mesh(mesh_file, 1500, torch.Generator().manual_seed(0))
    surface = read_mesh(mesh_file).surface()
    for up in UPRIGHT:
        placement = find_placement(*surface, turn_upright(asset, up).means)
        assert placement is not None and placement.up == up and placement.offset is None


def test_meshes_that_cannot_be(mesh_file: Path, tmp_path: Path) -> None:
    run, out = run_of(mesh_file, tmp_path / "run"), tmp_path / "moving.glb"
    out.write_text("before")
    trimesh.creation.icosphere().export(tmp_path / "ball.glb")
    (tmp_path / "cut.glb").write_bytes(mesh_file.read_bytes()[:500])
    (tmp_path / "text.glb").write_text("a goat")
    for mesh, said in (
        ("ball.glb", "not the mesh of this asset"),
        ("nowhere.glb", "There is no file"),
        ("nowhere.obj", "There is no file"),
        ("cut.glb", "cannot be read"),
        ("text.glb", "cannot be read"),
    ):
        with pytest.raises(BadInput, match=said):
            export(run, CONFIG, silent, out=out, mesh=tmp_path / mesh)
    with pytest.raises(BadInput, match="no motion to put on a mesh"):
        export(run, ExportConfig(format="glb", source="static"), silent, out=out)
    assert out.read_text() == "before"
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("pose", [None, "Walk@0.3"])
def test_an_asset_made_in_a_pose_moves_its_mesh_in_that_pose(tmp_path: Path, pose: str | None) -> None:
    """A skinned fox sampled as a clip begins is found; as it is in the middle of one it has to be told."""
    path, out = asset_path("rigged", "Fox.glb"), tmp_path / "moving.glb"
    rigged = read_rigged(path)
    asset = rigged.gaussians(rigged.named_pose(pose or "Survey@0"), 1500, torch.Generator().manual_seed(0))
    run = moving_run(tmp_path / "run", asset, source=str(path), prompt="a fox")
    if pose is not None:
        with pytest.raises(BadInput, match="not the mesh"):
            export(run, CONFIG, silent, out=out)
    export(run, replace(CONFIG, pose=pose), silent, out=out)
    [vertices], _, _ = poses(out)
    torch.testing.assert_close(vertices[1:], field_says(run, vertices[0], "y"), atol=1e-4, rtol=1e-4)
    assert find_placement(vertices[0], read_mesh(path).parts[0].faces, asset.means) is not None
