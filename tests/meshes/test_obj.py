"""Wavefront files: what stands in an .mtl, polygons of any shape, colours of vertices, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stages.errors import BadInput
from stages.events import silent
from stages.exporting.glb import read_mesh
from stages.gaussians.mesh import gaussians_from_mesh
from stages.gaussians.sh import sh0_to_rgb
from stages.meshes.beside import find_beside
from stages.meshes.gltf import parse_gltf
from stages.meshes.mesh import load_mesh
from stages.meshes.mtl import parse_map, parse_mtl
from stages.meshes.obj import triangulate
from stages.meshes.surface import triangle_areas
from stages.meshes.write_plain import as_glb
from stages.reconstruct import ReconstructConfig, load_asset

SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
QUARTERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]], np.uint8)
RED, GREEN = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]


def colors(path: Path, **settings: Any) -> tuple[torch.Tensor, torch.Tensor]:
    asset = load_asset(path, ReconstructConfig(num_gaussians=200, shading=0.0, **settings), silent)
    return asset.means, sh0_to_rgb(asset.sh[:, 0])


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("my fur coat.png", "my fur coat.png"),
        ("-clamp on -o 0.5 0 0 my fur.png", "my fur.png"),
        ("-s 2 2 1 -blendu off -mm 0 1 textures\\my fur.png", "textures\\my fur.png"),
        ("-o 0.25 12.png", "12.png"),
        ("-bm 0.5 -imfchan l 3 of 4.png", "3 of 4.png"),
        ("-unknown fur.png", "-unknown fur.png"),
    ],
)
def test_options_stand_before_a_name_that_may_hold_spaces(line: str, name: str) -> None:
    assert parse_map(line).name == name


def test_what_options_say() -> None:
    found = parse_map("-clamp on -o 0.5 0.25 -s 2 3 1 a.png")
    assert found.clamp and found.offset == (0.5, 0.25) and found.scale == (2.0, 3.0)
    text = "newmtl first one\nKd 0.5 0.25 1\nTr 0.25\n"
    text += "newmtl b\n\tKd 0.1\n  map_Kd \\\n a.png\nKe 1 0 0\nKd spectral x.rfl\n"
    read = parse_mtl(text)
    assert read["first one"].color == (0.5, 0.25, 1.0) and read["first one"].alpha == 0.75
    assert read["b"].color == (0.1, 0.1, 0.1) and read["b"].glow == (1.0, 0.0, 0.0)
    assert read["b"].map_color is not None and read["b"].map_color.name == "a.png"


def test_several_materials_with_spaces_and_a_moved_texture(tmp_path: Path) -> None:
    """The left half by a colour, the right half by the upper right quarter of a picture."""
    Image.fromarray(QUARTERS).save(tmp_path / "my fur.png")
    (tmp_path / "two parts.mtl").write_text(
        "newmtl the red one\nKd 1 0 0\nnewmtl fur\nKd 0.8 0.8 0.8\nmap_Kd -s 0.5 0.5 1 -o 0.5 0.5 0 my fur.png\n"
    )
    (tmp_path / "a.obj").write_text(
        "\ufeffmtllib two parts.mtl\n" + SQUARE + "v 2 0 0\nv 2 1 0\nusemtl the red one\nf 1 2 3 4\n"
        "usemtl fur\nf -5/1 -2/2 \\\n -1/3 -4/4\n"
    )
    means, rgb = colors(tmp_path / "a.obj")
    left = means[:, 0] < 1.0
    torch.testing.assert_close(rgb[left], torch.tensor(RED).expand(int(left.sum()), 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(rgb[~left], torch.tensor(GREEN).expand(int((~left).sum()), 3), atol=1e-5, rtol=0)
    assert 80 < int(left.sum()) < 120


def test_a_mask_cuts_out(tmp_path: Path) -> None:
    Image.fromarray(QUARTERS).save(tmp_path / "a.png")
    Image.fromarray(np.array([[255, 0], [0, 0]], np.uint8)).save(tmp_path / "mask.png")
    (tmp_path / "a.mtl").write_text("newmtl m\nmap_Kd a.png\nmap_d mask.png\n")
    (tmp_path / "a.obj").write_text("mtllib a.mtl\n" + SQUARE + "usemtl m\nf 1/1 2/2 3/3 4/4\n")
    means, rgb = colors(tmp_path / "a.obj")
    assert len(means) == 200 and float(means[:, 0].max()) <= 0.5 <= float(means[:, 1].min())
    torch.testing.assert_close(rgb, torch.tensor(RED).expand(200, 3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_colours_of_vertices(tmp_path: Path, scale: float) -> None:
    lines = [f"v {x} {y} 0 {scale:g} {0.2 * scale:g} 0" for x, y in ((0, 0), (1, 0), (1, 1))]
    (tmp_path / "a.obj").write_text("\n".join(lines) + "\nf 1//1 2//1 3//1\n")
    _, rgb = colors(tmp_path / "a.obj")
    torch.testing.assert_close(rgb, torch.tensor([1.0, 0.2, 0.0]).expand(200, 3), atol=1e-4, rtol=0)


def test_what_is_missing_is_told_once_by_name(tmp_path: Path) -> None:
    told: list[Any] = []
    (tmp_path / "a.obj").write_text(
        "mtllib gone.mtl\n" + SQUARE + "usemtl nowhere\nf 1 2 3\nl 1 2\nusemtl nowhere\nf 1 3 4\n"
    )
    load_asset(tmp_path / "a.obj", ReconstructConfig(num_gaussians=20), told.append)
    said = " ".join(event.text for event in told)
    for name in ("gone.mtl", "nowhere", "lines"):
        assert said.count(name) == 1
    (tmp_path / "b.obj").write_text(SQUARE + "f 1 2 9\n")
    (tmp_path / "c.obj").write_text("v 0 0 zero\n")
    for name in ("b.obj", "c.obj"):
        with pytest.raises(BadInput) as caught:
            load_mesh(tmp_path / name)
        assert name in caught.value.what


def test_polygons_with_inward_corners_are_cut_inside(tmp_path: Path) -> None:
    """An L of area 3, as one polygon of six corners; and a dart of area 1, as a quad."""
    (tmp_path / "a.obj").write_text("v 2 0 0\nv 2 1 0\nv 1 1 0\nv 1 2 0\nv 0 2 0\nv 0 0 0\nf 1 2 3 4 5 6\n")
    mesh = load_mesh(tmp_path / "a.obj")
    assert len(mesh.faces) == 4 and float(triangle_areas(mesh.vertices, mesh.faces).sum()) == pytest.approx(3.0)
    (tmp_path / "b.obj").write_text("v 0 2 0\nv -1 0 0\nv 0 1 0\nv 1 0 0\nf 1 2 3 4\nf 2 3 4 1\n")
    mesh = load_mesh(tmp_path / "b.obj")
    assert float(triangle_areas(mesh.vertices, mesh.faces).sum()) == pytest.approx(2.0)
    assert triangulate(np.array([[0, 0, 0], [1, 0, 0], [2, 1, 0], [1, 2, 0], [0, 1, 0]], np.float64))[0] == (0, 1, 2)


def test_names_of_other_machines_and_cases(tmp_path: Path) -> None:
    (tmp_path / "Textures").mkdir()
    (tmp_path / "Textures" / "Fur Coat.PNG").touch()
    for name in (
        "textures\\fur coat.png", "C:\\me\\Textures\\Fur Coat.PNG", "/home/me/textures/fur%20coat.png",
        '"Textures/Fur Coat.PNG"', "./textures/../textures/fur coat.png",
    ):  # fmt: skip
        assert find_beside(tmp_path, name) == tmp_path / "Textures" / "Fur Coat.PNG" or "textures/.." in name
    assert find_beside(tmp_path, "gone.png") is None and find_beside(tmp_path, "x" * 5000) is None


def test_as_gltf_it_has_the_same_colours(tmp_path: Path) -> None:
    Image.fromarray(QUARTERS).save(tmp_path / "a.png")
    (tmp_path / "a.mtl").write_text("newmtl m\nmap_Kd a.png\nnewmtl c\nKd 0.25 0.5 1\n")
    (tmp_path / "a.obj").write_text(
        "mtllib a.mtl\n" + SQUARE + "v 2 0 0\nv 2 1 0\nusemtl m\nf 1/1 2/2 3/3 4/4\nusemtl c\nf 2 5 6 3\n"
    )
    (tmp_path / "b.glb").write_bytes(as_glb(tmp_path / "a.obj"))
    mine, theirs = (
        gaussians_from_mesh(tmp_path / name, 300, torch.Generator().manual_seed(0)) for name in ("a.obj", "b.glb")
    )
    torch.testing.assert_close(mine.means, theirs.means)
    torch.testing.assert_close(mine.sh, theirs.sh, atol=1e-5, rtol=0)
    assert read_mesh(tmp_path / "a.obj").num_vertices == 8
    assert parse_gltf(tmp_path / "b.glb", as_glb(tmp_path / "a.obj")).missing == []
