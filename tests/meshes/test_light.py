"""Soft light: bright above, dim below and in hollows, whichever way triangles are wound; the mean colour stays."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import trimesh
from torch import Tensor

from stages.errors import BadInput
from stages.events import silent
from stages.gaussians.sh import sh0_to_rgb
from stages.meshes.light import Light, lit_colors, sky_light
from stages.meshes.paint import Colors
from stages.meshes.surface import face_normals
from stages.reconstruct import ReconstructConfig, load_asset
from tests.meshes.gltf_files import Gltf

UP = (0.0, 1.0, 0.0)


def lit(mesh: trimesh.Trimesh, up: tuple[float, float, float] = UP) -> tuple[Tensor, Tensor]:
    """Light at the middle of every face, and the faces' normals."""
    vertices, faces = torch.tensor(mesh.vertices).float(), torch.tensor(mesh.faces.copy()).long()
    normals = face_normals(vertices, faces)
    return sky_light(vertices[faces].mean(dim=1), normals, vertices, faces, up), normals


def test_a_ball_is_bright_above_and_dim_below() -> None:
    ball = trimesh.creation.icosphere(subdivisions=3)
    light, normals = lit(ball)
    for height, expected in ((0.97, 1.0), (0.0, 0.69), (-0.97, 0.385)):  # the integrals of the sky over half a sphere
        near = (normals[:, 1] - height).abs() < 0.05
        assert float(light[near].mean()) == pytest.approx(expected, abs=0.05)
    inside_out = trimesh.Trimesh(ball.vertices, ball.faces[:, ::-1], process=False)
    torch.testing.assert_close(lit(inside_out)[0], light, atol=0.02, rtol=0)
    turned, normals = lit(ball, (0.0, 0.0, -1.0))
    assert float(turned[normals[:, 2] < -0.95].mean()) > 2.0 * float(turned[normals[:, 2] > 0.95].mean())


def test_what_lies_under_a_roof_is_dimmer() -> None:
    floor = trimesh.creation.box((4.0, 0.1, 4.0)).subdivide().subdivide().subdivide()
    roof = trimesh.creation.box((4.0, 0.1, 2.0), transform=trimesh.transformations.translation_matrix((0, 0.6, 1.0)))
    both = trimesh.util.concatenate([floor, roof])
    light, normals = lit(both)
    middle = torch.tensor(both.triangles_center).float()
    upper = (normals[:, 1] > 0.9) & (middle[:, 1] < 0.1) & (middle[:, 0].abs() < 1.0)
    covered, free = upper & (middle[:, 2] > 0.6) & (middle[:, 2] < 1.4), upper & (middle[:, 2] < -1.0)
    assert float(light[free].mean()) > 0.9 and float(light[covered].mean()) < 0.6


def test_colours_keep_their_mean_and_are_not_cut_off() -> None:
    ball = trimesh.creation.icosphere(subdivisions=3)
    vertices, faces = torch.tensor(ball.vertices).float(), torch.tensor(ball.faces).long()
    points, normals = vertices[faces].mean(dim=1), face_normals(vertices, faces)
    num = len(faces)

    def shaded(rgb: tuple[float, float, float], lit: float, strength: float) -> Tensor:
        ones = torch.ones(num)
        colors = Colors(rgb=torch.tensor(rgb).expand(num, 3), shown=ones > 0, alpha=ones, lit=lit * ones)
        return lit_colors(colors, points, normals, vertices, faces, Light(strength))

    grey = shaded((0.6, 0.3, 0.15), 1.0, 0.25)
    torch.testing.assert_close(grey.mean(dim=0), torch.tensor([0.6, 0.3, 0.15]), atol=0.005, rtol=0)
    torch.testing.assert_close(grey[:, 0], 2.0 * grey[:, 1], atol=1e-5, rtol=0)  # the hue stays
    assert float(grey[:, 0].std()) > 0.01
    white = shaded((1.0, 1.0, 1.0), 1.0, 0.5)
    assert float(white.max()) <= 1.0 and float(white.std()) > 0.03
    for unchanged in (shaded((0.6, 0.3, 0.15), 0.0, 0.5), shaded((0.6, 0.3, 0.15), 1.0, 0.0)):
        assert bool((unchanged == torch.tensor([0.6, 0.3, 0.15])).all())


def test_reconstruct_lights_meshes_from_what_will_be_above(tmp_path: Path) -> None:
    path = tmp_path / "ball.obj"
    trimesh.creation.icosphere(subdivisions=3).export(path)

    def brightness(**settings: object) -> tuple[float, float]:
        config = ReconstructConfig(num_gaussians=500, **settings)  # type: ignore[arg-type]
        asset = load_asset(path, config, silent)
        rgb = sh0_to_rgb(asset.sh[:, 0])[:, 0]
        return float(rgb[asset.means[:, 1] > 0.7].mean()), float(rgb[asset.means[:, 1] < -0.7].mean())

    for settings in ({}, {"up": "-z"}, {"up": "y", "flip": "y"}):
        above, below = brightness(**settings)
        assert above > 1.1 * below
    assert brightness(shading=0.0)[0] == pytest.approx(brightness(shading=0.0)[1], abs=1e-6)
    with pytest.raises(BadInput, match="shading"):
        brightness(shading=1.5)


def test_what_is_unlit_or_sends_out_light_is_not_shaded(tmp_path: Path) -> None:
    made = Gltf.square()
    made.material(
        {"extensions": {"KHR_materials_unlit": {}}, "pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0, 1]}}
    )
    made.json["nodes"] = [{"mesh": 0}, {"mesh": 0, "rotation": [0.5**0.5, 0, 0, 0.5**0.5]}]
    made.json["scenes"][0]["nodes"] = [0, 1]
    asset = load_asset(made.write_glb(tmp_path / "a.glb"), ReconstructConfig(num_gaussians=100, shading=1.0), silent)
    torch.testing.assert_close(sh0_to_rgb(asset.sh[:, 0]), torch.tensor([1.0, 0, 0]).expand(100, 3), atol=1e-5, rtol=0)
