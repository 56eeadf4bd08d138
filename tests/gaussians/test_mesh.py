"""Meshes into Gaussians: on the surface, flat along it, in its colours; turned upright with their colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from stages.errors import BadInput
from stages.events import silent
from stages.gaussians.mesh import gaussians_from_mesh
from stages.gaussians.neighbours import nearest_neighbours
from stages.gaussians.sh import sh0_to_rgb
from stages.gaussians.transform import turn_upright
from stages.geometry.rotations import quaternion_matrices
from stages.meshes.paint import PLAIN
from stages.reconstruct import ReconstructConfig, load_asset
from tests.gaussians.test_ply import splat


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_samples_lie_flat_on_the_surface(tmp_path: Path) -> None:
    trimesh.creation.icosphere(subdivisions=4).export(tmp_path / "ball.obj")
    asset = gaussians_from_mesh(tmp_path / "ball.obj", 2000, _generator())
    radius = asset.means.norm(dim=-1)
    assert radius.min() > 0.99 and radius.max() < 1.001
    normal = quaternion_matrices(asset.quats)[:, :, 2]
    assert (normal * asset.means / radius[:, None]).sum(-1).abs().min() > 0.99
    assert (asset.scales[:, 2] < 0.2 * asset.scales[:, 0]).all()
    spacing = nearest_neighbours(asset.means, 1)[1].mean()
    assert 0.5 * spacing < asset.scales[0, 0] < 2.0 * spacing  # neighbours touch


def test_material_vertex_and_texture_colours(tmp_path: Path) -> None:
    box = trimesh.creation.box()
    box.visual.vertex_colors = np.tile([255, 0, 0, 255], (len(box.vertices), 1)).astype(np.uint8)
    box.export(tmp_path / "red.glb")
    plain = trimesh.creation.box()
    plain.visual = trimesh.visual.TextureVisuals(
        material=trimesh.visual.material.PBRMaterial(baseColorFactor=[0, 255, 0, 255])
    )
    plain.export(tmp_path / "green.glb")
    picture = Image.fromarray(np.array([[[0, 0, 255]] * 2, [[255, 255, 0]] * 2], dtype=np.uint8))
    sheet = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]], process=False)
    sheet.visual = trimesh.visual.TextureVisuals(
        uv=np.array([[0, 0], [1, 0], [1, 1], [0, 1]]),
        material=trimesh.visual.material.PBRMaterial(baseColorTexture=picture),
    )
    sheet.export(tmp_path / "sheet.glb")
    for name, expected in (("red", [1.0, 0.0, 0.0]), ("green", [0.0, 1.0, 0.0])):
        rgb = sh0_to_rgb(gaussians_from_mesh(tmp_path / f"{name}.glb", 50, _generator()).sh[:, 0])
        torch.testing.assert_close(rgb, torch.tensor(expected).expand(50, 3), atol=1e-3, rtol=0)
    asset = gaussians_from_mesh(tmp_path / "sheet.glb", 200, _generator())
    rgb, upper = sh0_to_rgb(asset.sh[:, 0]), asset.means[:, 1] > 0.5
    torch.testing.assert_close(rgb[upper].mean(0), torch.tensor([0.0, 0.0, 1.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(rgb[~upper].mean(0), torch.tensor([1.0, 1.0, 0.0]), atol=1e-3, rtol=0)


def test_bad_meshes_and_suffixes(tmp_path: Path) -> None:
    (tmp_path / "a.glb").write_bytes(b"not a mesh")
    with pytest.raises(BadInput, match="cannot be read as a mesh"):
        load_asset(tmp_path / "a.glb", ReconstructConfig(), silent)
    with pytest.raises(BadInput, match="There is no file"):
        load_asset(tmp_path / "b.obj", ReconstructConfig(), silent)
    with pytest.raises(BadInput, match="There is no file or folder"):
        load_asset(tmp_path / "photos", ReconstructConfig(), silent)
    (tmp_path / "c.jpg").touch()
    with pytest.raises(BadInput, match="neither a splat nor a mesh"):
        load_asset(tmp_path / "c.jpg", ReconstructConfig(), silent)


def test_meshes_without_a_surface_or_with_stray_indices(tmp_path: Path) -> None:
    (tmp_path / "point.obj").write_text("v 0 0 0\nv 0 0 0\nv 0 0 0\nf 1 2 3\n")
    with pytest.raises(BadInput, match="no surface"):
        gaussians_from_mesh(tmp_path / "point.obj", 10, _generator())
    trimesh.creation.box().export(tmp_path / "box.glb")
    raw = (tmp_path / "box.glb").read_bytes()
    first = raw.index(b"BIN\x00") + 4  # trimesh writes the indices first, as 32-bit numbers
    (tmp_path / "stray.glb").write_bytes(raw[:first] + (9999).to_bytes(4, "little") + raw[first + 4 :])
    with pytest.raises(BadInput, match=r"not in the file|cannot be read as a mesh"):
        gaussians_from_mesh(tmp_path / "stray.glb", 10, _generator())


def test_node_transforms_apply_and_a_mesh_without_material_is_plain(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    for x in (0.0, 5.0):
        scene.add_geometry(trimesh.creation.box(), transform=trimesh.transformations.translation_matrix([x, 0, 0]))
    scene.export(tmp_path / "two.glb")
    asset = gaussians_from_mesh(tmp_path / "two.glb", 400, _generator())
    low, high = asset.bounds()
    torch.testing.assert_close(low, torch.tensor([-0.5, -0.5, -0.5]), atol=0.02, rtol=0)
    torch.testing.assert_close(high, torch.tensor([5.5, 0.5, 0.5]), atol=0.02, rtol=0)
    assert 170 < int((asset.means[:, 0] > 2.5).sum()) < 230  # half of the area each
    (tmp_path / "bare.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/1\n")
    rgb = sh0_to_rgb(gaussians_from_mesh(tmp_path / "bare.obj", 5, _generator()).sh[:, 0])
    torch.testing.assert_close(rgb, torch.full((5, 3), PLAIN))


@pytest.mark.parametrize("up", ["-y", "z", "-z", "x", "-x"])
def test_upright_turns_the_named_axis_to_y(up: str) -> None:
    asset = splat(2)
    turned = turn_upright(asset, up)
    sign, axis = (-1.0 if up[0] == "-" else 1.0), "xyz".index(up[-1])
    torch.testing.assert_close(turned.means[:, 1], sign * asset.means[:, axis], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        torch.cdist(turned.means, turned.means), torch.cdist(asset.means, asset.means), atol=1e-4, rtol=1e-4
    )
    with pytest.raises(BadInput, match="not an axis"):
        turn_upright(asset, "w")


def test_a_picture_is_put_on_a_mesh_that_names_none(tmp_path: Path) -> None:
    """Left half red, right half blue; u runs along x. Without it the mesh is grey, and that is told."""
    path, picture, told = tmp_path / "plane.obj", tmp_path / "plane.png", []
    path.write_text(
        "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3\nf 1/1 3/3 4/4\n"
    )
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, :4, 0], pixels[:, 4:, 2] = 255, 255
    Image.fromarray(pixels).save(picture)
    asset = load_asset(path, ReconstructConfig(num_gaussians=200, texture=str(picture)), told.append)
    left = asset.means[:, 0] < 0.5
    colors = sh0_to_rgb(asset.sh[:, 0])
    torch.testing.assert_close(colors[left], torch.tensor([1.0, 0.0, 0.0]).expand(int(left.sum()), 3))
    torch.testing.assert_close(colors[~left], torch.tensor([0.0, 0.0, 1.0]).expand(int((~left).sum()), 3))
    assert not told
    grey = load_asset(path, ReconstructConfig(num_gaussians=200), told.append)
    torch.testing.assert_close(sh0_to_rgb(grey.sh[:, 0]), torch.full((200, 3), PLAIN))
    assert len(told) == 1 and "--texture" in told[0].text


@pytest.mark.parametrize("reference", ["fur\\coat.png", "C:\\me\\fur\\coat.png", "-s 1 1 1 fur/coat.png", "gone.png"])
def test_pictures_of_an_obj_are_found_or_told(tmp_path: Path, reference: str) -> None:
    (tmp_path / "fur").mkdir()
    for place in (tmp_path / "fur", tmp_path):
        Image.new("RGB", (2, 2), (255, 0, 0)).save(place / "coat.png")
    (tmp_path / "a.mtl").write_text(f"newmtl m\nKd 1 1 1\nmap_Kd {reference}\n")
    obj = "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nusemtl m\nf 1/1 2/2 3/3\n"
    (tmp_path / "a.obj").write_text(obj)
    told: list[Any] = []
    asset = load_asset(tmp_path / "a.obj", ReconstructConfig(num_gaussians=20), told.append)
    if reference == "gone.png":
        assert len(told) == 1 and "gone.png" in told[0].text and "--texture" in told[0].text
    else:
        assert not told
        torch.testing.assert_close(sh0_to_rgb(asset.sh[:, 0]), torch.tensor([1.0, 0.0, 0.0]).expand(20, 3))


def test_pictures_that_cannot_be_put_on_are_told(tmp_path: Path) -> None:
    plain, picture = tmp_path / "plain.obj", tmp_path / "broken.png"
    plain.write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 3\n")
    picture.write_bytes(b"no picture")
    whole = tmp_path / "whole.png"
    Image.new("RGB", (2, 2)).save(whole)
    for texture, said in (
        (tmp_path / "none.png", "no file"),
        (picture, "cannot be read"),
        (whole, "does not say where"),
    ):
        with pytest.raises(BadInput, match=said):
            load_asset(plain, ReconstructConfig(texture=str(texture)), silent)
    with pytest.raises(BadInput, match="no mesh"):
        load_asset(tmp_path / "a.splat", ReconstructConfig(texture=str(whole)), silent)
