"""PLY and STL meshes: dialects of MeshLab and scanners, far from the origin, and what they name and is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from stages.exporting.glb import read_mesh
from stages.gaussians.sh import sh0_to_rgb
from stages.meshes.mesh import load_mesh
from stages.reconstruct import ReconstructConfig, load_asset

XYZ = ((0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0))


def ply(
    path: Path, properties: str = "", rows: Any = ("",) * 4, *, comment: str = "", faces: str = "", **more: Any
) -> Path:
    """A square as text; ``properties`` of its vertices stand in ``rows``."""
    kind, base = more.get("kind", "float"), more.get("base", (0, 0, 0))
    lists = faces or "element face 2\nproperty list uchar int vertex_indices\nend_header\n3 0 1 2\n3 0 2 3\n"
    vertices = "\n".join(
        " ".join(f"{a + b:.3f}" for a, b in zip(xyz, base, strict=True)) + f" {row}"
        for xyz, row in zip(XYZ, rows, strict=True)
    )
    head, body = lists.split("end_header\n")
    path.write_text(
        f"ply\nformat ascii 1.0\n{comment}element vertex 4\nproperty {kind} x\nproperty {kind} y\nproperty {kind} z\n"
        f"{properties}{head}end_header\n{vertices}\n{body}"
    )
    return path


def read(path: Path) -> tuple[torch.Tensor, list[str]]:
    """Displayed colours of the asset, unlit, and what was told."""
    told: list[Any] = []
    asset = load_asset(path, ReconstructConfig(num_gaussians=60, shading=0.0), told.append)
    return sh0_to_rgb(asset.sh[:, 0]), [event.text for event in told]


@pytest.mark.parametrize(
    ("names", "kind", "row"),
    [("red green blue", "uchar", "255 51 0"), ("red green blue", "float", "1 0.2 0"),
     ("diffuse_red diffuse_green diffuse_blue", "uchar", "255 51 0"), ("r g b", "float", "1 0.2 0")],
)  # fmt: skip
def test_colours_of_vertices_by_any_name(tmp_path: Path, names: str, kind: str, row: str) -> None:
    properties = "".join(f"property {kind} {name}\n" for name in names.split())
    rgb, told = read(ply(tmp_path / "a.ply", properties, [row] * 4))
    torch.testing.assert_close(rgb, torch.tensor([1.0, 0.2, 0.0]).expand(60, 3), atol=3e-3, rtol=0)
    assert not told


def test_textures_of_meshlab_are_put_on_or_named(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), (0, 255, 0)).save(tmp_path / "fur.png")
    properties, rows = "property float s\nproperty float t\n", ["0 0", "1 0", "1 1", "0 1"]
    rgb, told = read(ply(tmp_path / "a.ply", properties, rows, comment="comment TextureFile fur.png\n"))
    torch.testing.assert_close(rgb, torch.tensor([0.0, 1.0, 0.0]).expand(60, 3), atol=1e-5, rtol=0)
    assert not told
    _, told = read(ply(tmp_path / "a.ply", properties, rows, comment="comment TextureFile gone.png\n"))
    assert sum("gone.png" in line for line in told) == 1


def test_strips_of_scanners_and_fields_that_are_not_used(tmp_path: Path) -> None:
    strips = "element tristrips 1\nproperty list int int vertex_indices\nend_header\n6 0 1 3 2 -1 0\n"
    path = ply(tmp_path / "a.ply", "property float confidence\n", ["1"] * 4, faces=strips)
    mesh = load_mesh(path)
    a, b, c = mesh.vertices[mesh.faces].unbind(dim=1)
    torch.testing.assert_close(torch.linalg.cross(b - a, c - a)[:, 2], torch.ones(2))
    _, told = read(path)
    assert sum("confidence" in line for line in told) == 1


@pytest.mark.parametrize("kind", ["ply", "obj"])
def test_what_lies_far_away_keeps_its_shape(tmp_path: Path, kind: str) -> None:
    """Coordinates of a map, in double: the middle goes to the origin, and that is said."""
    base = (691000.25, 121.5, 5335000.125)
    path = tmp_path / f"a.{kind}"
    if kind == "ply":
        ply(path, kind="double", base=base)
    else:
        lines = [f"v {x + base[0]:.4f} {y + base[1]:.4f} {z + base[2]:.4f}" for x, y, z in XYZ]
        path.write_text("\n".join(lines) + "\nf 1 2 3 4\n")
    mesh = load_mesh(path)
    assert len(mesh.told) == 1 and "691001" in mesh.told[0] and "5335000" in mesh.told[0]
    np.testing.assert_allclose(np.ptp(mesh.vertices.numpy(), axis=0), [1, 1, 0], atol=1e-5)
    assert float(mesh.vertices.abs().max()) < 2.0
    found = torch.cat([part.placed for part in read_mesh(path).parts])
    np.testing.assert_allclose(np.sort(found.numpy(), axis=0)[[0, -1]], np.sort(mesh.vertices.numpy(), axis=0)[[0, -1]])
    assert not load_mesh(ply(tmp_path / "near.ply", base=(300, 0, 0))).told


def test_stl_files_have_no_colours_that_are_used(tmp_path: Path) -> None:
    path = tmp_path / "a.stl"
    trimesh.creation.box().export(path)
    data = bytearray(path.read_bytes())
    assert not load_mesh(path).unused
    data[84 + 48 : 84 + 50] = b"\xff\x7f"  # the two bytes that some programs keep a face's colour in
    path.write_bytes(bytes(data))
    assert any("STL" in what for what in load_mesh(path).unused)
