"""The colours of glTF materials: products in linear light, places in a texture, masks, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stages.events import silent
from stages.gaussians.mesh import gaussians_from_mesh
from stages.gaussians.sh import sh0_to_rgb
from stages.meshes.mesh import load_mesh
from stages.meshes.paint import PLAIN, displayed, linear_light, read_pixels
from stages.reconstruct import ReconstructConfig, load_asset
from stages.skeletons.rigged import read_rigged
from tests.meshes.gltf_files import Gltf

QUARTERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]])  # red green above blue yellow


def srgb(linear: float) -> float:
    """By the formula, in double."""
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


def light(shown: float) -> float:
    return shown / 12.92 if shown <= 0.04045 else ((shown + 0.055) / 1.055) ** 2.4


def colors_at(path: Path, places: list[tuple[float, float]]) -> torch.Tensor:
    """Colours [M, 3] at ``places`` (x, y) of the square, and NaN where it is cut out."""
    (part,) = load_mesh(path).painted
    at = [(0, (1 - x, x - y, y)) if y <= x else (1, (1 - y, x, y - x)) for x, y in places]
    seen = part.paint.at(torch.tensor([face for face, _ in at]), torch.tensor([corner for _, corner in at]))
    return torch.where(seen.shown[:, None], seen.rgb, torch.nan)


FOUR = [(0.25, 0.75), (0.75, 0.75), (0.25, 0.25), (0.75, 0.25)]  # upper left, upper right, lower left, lower right


def test_display_and_linear_light_are_inverse() -> None:
    values = torch.linspace(0.0, 1.0, 101)
    torch.testing.assert_close(displayed(linear_light(values)), values, atol=1e-6, rtol=0)
    torch.testing.assert_close(displayed(values), torch.tensor([srgb(v) for v in values.tolist()]), atol=1e-6, rtol=0)


def test_factor_texture_and_vertex_colours_are_multiplied_in_linear_light(tmp_path: Path) -> None:
    made = Gltf.square()
    made.textured(np.full((2, 2, 3), 153), baseColorFactor=[0.5, 0.25, 1.0, 1.0])
    made.attribute("COLOR_0", np.tile(np.array([128, 255, 51], np.uint8), (4, 1)), normalized=True)
    expected = [srgb(light(0.6) * a * b) for a, b in ((0.5, 128 / 255), (0.25, 1.0), (1.0, 0.2))]
    found = colors_at(made.write_glb(tmp_path / "a.glb"), FOUR)
    torch.testing.assert_close(found, torch.tensor([expected] * 4), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("material", "expected"),
    [
        ({"pbrMetallicRoughness": {"baseColorFactor": [0.004, 0.004, 0.004, 1]}}, [srgb(0.004)] * 3),
        ({"pbrMetallicRoughness": {"metallicFactor": 0}}, [1.0] * 3),
        ({}, [1.0] * 3),
        (None, [PLAIN] * 3),
        (
            {"extensions": {"KHR_materials_pbrSpecularGlossiness": {"diffuseFactor": [0.6, 0.0, 0.0, 1]}}},
            [srgb(0.6), 0.0, 0.0],
        ),
    ],
)
def test_materials_without_a_picture(tmp_path: Path, material: Any, expected: list[float]) -> None:
    made = Gltf.square()
    if material is not None:
        made.material(material)
    path = made.write_glb(tmp_path / "a.glb")
    torch.testing.assert_close(colors_at(path, FOUR[:1])[0], torch.tensor(expected), atol=1e-5, rtol=0)
    assert load_mesh(path).has_colors == (material is not None)


def test_a_diffuse_texture_of_the_old_extension(tmp_path: Path) -> None:
    made = Gltf.square()
    made.textured(QUARTERS)
    made.material({"extensions": {"KHR_materials_pbrSpecularGlossiness": {"diffuseTexture": {"index": 0}}}})
    torch.testing.assert_close(colors_at(made.write_glb(tmp_path / "a.glb"), FOUR), quarters("rgby"))


def quarters(letters: str) -> torch.Tensor:
    """Colours [M, 3] by their letters."""
    known = {"r": [1.0, 0, 0], "g": [0, 1.0, 0], "b": [0, 0, 1.0], "y": [1.0, 1.0, 0], ".": [torch.nan] * 3}
    return torch.tensor([known[letter] for letter in letters])


@pytest.mark.parametrize(
    ("transform", "letters"),
    [
        ({}, "rgby"),
        ({"offset": [0.5, 0.0], "scale": [0.5, 0.5]}, "gggg"),
        ({"offset": [0.0, 0.5], "scale": [0.5, 0.5]}, "bbbb"),
        # counter-clockwise about the picture's upper left corner, v downwards: (u, v) -> (v, -u)
        ({"offset": [0.0, 1.0], "rotation": np.pi / 2}, "bryg"),
        # scaled, then turned: (u, v) -> (v, -u / 2)
        ({"offset": [0.0, 0.5], "rotation": np.pi / 2, "scale": [0.5, 1.0]}, "rrgg"),
    ],
)
def test_a_texture_is_moved_turned_and_scaled(tmp_path: Path, transform: dict[str, Any], letters: str) -> None:
    made = Gltf.square()
    made.textured(QUARTERS, info={"extensions": {"KHR_texture_transform": transform}})
    torch.testing.assert_close(
        colors_at(made.write_glb(tmp_path / "a.glb"), FOUR), quarters(letters), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("wrap", "letters"), [(10497, "rgrgr"), (33071, "rgggg"), (33648, "rggrr"), (None, "rgrgr")])
def test_beyond_its_edges_a_picture_goes_on_as_the_sampler_says(tmp_path: Path, wrap: int | None, letters: str) -> None:
    made = Gltf.square()
    made.attribute("TEXCOORD_1", np.array([[0, 0.1], [2.5, 0.1], [2.5, 0.1], [0, 0.1]], np.float32))
    made.textured(QUARTERS, info={"texCoord": 1}, sampler={} if wrap is None else {"wrapS": wrap, "wrapT": wrap})
    places = [((0.25 + 0.5 * i) / 2.5, 0.01) for i in range(5)]
    found = colors_at(made.write_glb(tmp_path / "a.glb"), places)
    torch.testing.assert_close(found, quarters(letters), atol=1e-5, rtol=0)


def test_what_is_masked_has_no_gaussians(tmp_path: Path) -> None:
    made, alpha = Gltf.square(), np.array([[[0], [100]], [[130], [255]]])
    made.textured(np.concatenate([QUARTERS, alpha], axis=2))
    made.json["materials"][0]["alphaMode"] = "MASK"
    path = made.write_glb(tmp_path / "a.glb")
    torch.testing.assert_close(colors_at(path, FOUR), quarters("..by"), equal_nan=True)
    asset = gaussians_from_mesh(path, 400, torch.Generator().manual_seed(0))
    assert asset.num_gaussians == 400 and float(asset.means[:, 1].max()) <= 0.5
    left = asset.means[:, 0] < 0.5
    assert 170 < int(left.sum()) < 230
    assert float(asset.scales[0, 0]) == pytest.approx(0.65 * (0.5 / 400) ** 0.5, rel=0.1)  # half of the area is left
    made.json["materials"][0]["alphaCutoff"] = 0.3
    torch.testing.assert_close(colors_at(made.write_glb(path), FOUR), quarters(".gby"), equal_nan=True)


def test_a_mask_that_would_hide_a_whole_material_is_taken_as_opaque(tmp_path: Path) -> None:
    """Quaternius' Animated Men have such ones: alpha 0 of everything but the tie."""
    made, told = Gltf.square(), []
    made.material({"pbrMetallicRoughness": {"baseColorFactor": [1.0, 0.2, 0.0, 0.0]}, "alphaMode": "MASK"})
    path = made.write_glb(tmp_path / "a.glb")
    asset = load_asset(path, ReconstructConfig(num_gaussians=50, shading=0.0), told.append)
    assert asset.num_gaussians == 50 and bool((asset.opacities > 0.9).all())
    torch.testing.assert_close(sh0_to_rgb(asset.sh[0, 0]), torch.tensor([1.0, srgb(0.2), 0.0]), atol=1e-5, rtol=0)
    assert "taken as opaque" in told[0].text
    made.json["materials"][0]["alphaCutoff"] = 0.0  # hides nothing
    told.clear()
    load_asset(made.write_glb(path), ReconstructConfig(num_gaussians=50), told.append)
    assert not told


def test_what_a_file_names_and_lacks_is_told(tmp_path: Path) -> None:
    """And a picture can still be put on, where the file says where."""
    made, told = Gltf.square(), []
    made.textured(QUARTERS)
    made.json["images"] = [{"uri": "gone.png"}]
    path = made.write_glb(tmp_path / "a.glb")
    asset = load_asset(path, ReconstructConfig(num_gaussians=50), told.append)
    assert asset.num_gaussians == 50 and len(told) == 1 and "gone.png" in told[0].text and "--texture" in told[0].text
    full = Gltf.square()
    full.textured(QUARTERS)
    told.clear()
    load_asset(full.write_glb(tmp_path / "b.glb"), ReconstructConfig(num_gaussians=50), told.append)
    assert not told
    Image.fromarray(QUARTERS.astype(np.uint8)).save(tmp_path / "here.png")
    found = load_asset(path, ReconstructConfig(num_gaussians=200, texture=str(tmp_path / "here.png")), silent)
    upper_left = (found.means[:, 0] < 0.5) & (found.means[:, 1] > 0.5)
    torch.testing.assert_close(
        sh0_to_rgb(found.sh[upper_left, 0]), quarters("r").expand(int(upper_left.sum()), 3), atol=1e-5, rtol=0
    )


def test_a_rigged_file_at_rest_has_the_colours_of_the_plain_mesh(tmp_path: Path) -> None:
    """With everything at once: a factor, vertex colours, a moved texture, a mask, a skin."""
    made, alpha = Gltf.square(), np.array([[[255], [255]], [[0], [255]]])
    moved = {"extensions": {"KHR_texture_transform": {"offset": [0.25, 0.0]}}}
    made.textured(np.concatenate([QUARTERS // 2 + 60, alpha], axis=2), info=moved, baseColorFactor=[0.9, 0.5, 0.7, 1.0])
    made.json["materials"][0]["alphaMode"] = "MASK"
    made.attribute("COLOR_0", np.random.default_rng(0).random((4, 4)).astype(np.float32) ** 0.1)
    made.attribute("JOINTS_0", np.zeros((4, 4), np.uint8))
    made.attribute("WEIGHTS_0", np.tile(np.array([1, 0, 0, 0], np.float32), (4, 1)))
    made.json["nodes"][0]["skin"] = 0
    made.json["nodes"].append({"name": "joint"})
    made.json["scenes"][0]["nodes"] = [0, 1]
    made.json["skins"] = [{"joints": [1]}]  # without matrices: identities
    path = made.write_glb(tmp_path / "a.glb")
    rigged = read_rigged(path)
    posed = rigged.gaussians(rigged.named_pose("rest"), 500, torch.Generator().manual_seed(0))
    plain = gaussians_from_mesh(path, 500, torch.Generator().manual_seed(0))
    torch.testing.assert_close(posed.means, plain.means)
    torch.testing.assert_close(posed.sh, plain.sh)
    assert float(sh0_to_rgb(plain.sh).std()) > 0.05


@pytest.mark.parametrize(
    ("factor", "expected", "said"),
    [([255, 51, 0, 255], [1.0, srgb(0.2), 0.0], True), ([1.5, 0.5, 0.0, 1.0], [1.0, srgb(0.5), 0.0], True),
     ([1.0, 0.5, 0.0, 1.0], [1.0, srgb(0.5), 0.0], False)],
)  # fmt: skip
def test_base_colours_beyond_one(tmp_path: Path, factor: list[float], expected: list[float], said: bool) -> None:
    made = Gltf.square()
    made.material({"pbrMetallicRoughness": {"baseColorFactor": factor}})
    path = made.write_glb(tmp_path / "a.glb")
    torch.testing.assert_close(colors_at(path, FOUR[:1])[0], torch.tensor(expected), atol=1e-5, rtol=0)
    assert any("beyond 1" in what for what in load_mesh(path).unused) == said


def test_what_sends_out_light_is_brighter_by_that(tmp_path: Path) -> None:
    """Black but for its own light: the left half of a picture, twice as strong as it is."""
    made = Gltf.square()
    made.textured(np.array([[[128, 0, 0], [0, 0, 0]]]))
    made.material(
        {
            "pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0.5, 1]},
            "emissiveFactor": [1, 1, 1], "emissiveTexture": {"index": 0},
            "extensions": {"KHR_materials_emissive_strength": {"emissiveStrength": 2.0}},
        }
    )  # fmt: skip
    path = made.write_glb(tmp_path / "a.glb")
    expected = torch.tensor([[srgb(2 * light(128 / 255)), 0.0, srgb(0.5)], [0.0, 0.0, srgb(0.5)]])
    torch.testing.assert_close(colors_at(path, FOUR[:2]), expected, atol=1e-5, rtol=0)
    (part,) = load_mesh(path).painted
    lit = part.paint.at(torch.tensor([1, 0]), torch.tensor([[0.2, 0.0, 0.8], [0.1, 0.8, 0.1]])).lit
    assert float(lit[0]) < 0.6 and float(lit[1]) == 1.0


def test_what_can_be_seen_through_has_faint_gaussians_or_none(tmp_path: Path) -> None:
    made, alpha = Gltf.square(), np.array([[[0], [128]], [[255], [255]]])
    made.textured(np.concatenate([QUARTERS, alpha], axis=2))
    made.json["materials"][0]["alphaMode"] = "BLEND"
    asset = gaussians_from_mesh(made.write_glb(tmp_path / "a.glb"), 300, torch.Generator().manual_seed(0))
    upper, left = asset.means[:, 1] > 0.5, asset.means[:, 0] < 0.5
    assert not bool((upper & left).any()) and bool((upper & ~left).any())
    torch.testing.assert_close(asset.opacities[~upper].mean(), torch.tensor(0.95), atol=1e-4, rtol=0)
    torch.testing.assert_close(asset.opacities[upper].mean(), torch.tensor(0.95 * 128 / 255), atol=1e-4, rtol=0)


def test_pictures_of_sixteen_bits_are_not_white() -> None:
    grey = Image.fromarray(np.full((2, 2), 16384, np.uint16))
    torch.testing.assert_close(read_pixels(grey)[0, 0], torch.tensor([0.25, 0.25, 0.25, 1.0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(read_pixels(Image.new("L", (2, 2), 51))[0, 0, :3], torch.full((3,), 0.2))


def test_a_missing_texture_is_named_whatever_else_is_missing(tmp_path: Path) -> None:
    made = Gltf.square()
    made.textured(QUARTERS)
    made.json["textures"] = [{}]
    made.json["extensionsUsed"] = ["ACME_gloss"]
    said = load_mesh(made.write_glb(tmp_path / "a.glb")).unused
    assert any("ACME_gloss" in what for what in said) and any("names no picture" in what for what in said)


def test_a_texture_packed_as_ktx2_is_named_with_the_way_out(tmp_path: Path) -> None:
    """``packed`` is only how such a file begins; with a plain picture beside it that one is taken."""
    made, packed = Gltf.square(), b"\xabKTX 20\xbb\r\n\x1a\n" + bytes(80)
    made.textured(np.full((2, 2, 3), 200))
    made.json["images"].append({"bufferView": made.view(packed), "mimeType": "image/ktx2"})
    made.json["textures"] = [{"source": 0, "extensions": {"KHR_texture_basisu": {"source": 1}}}]
    made.json["extensionsUsed"] = ["KHR_texture_basisu"]
    assert not load_mesh(made.write_glb(tmp_path / "both.glb")).unused
    del made.json["textures"][0]["source"]
    made.json["extensionsRequired"] = ["KHR_texture_basisu"]
    (said,) = load_mesh(made.write_glb(tmp_path / "packed.glb")).unused
    assert "picture 1" in said and "KHR_texture_basisu" in said and "ktxdecompress" in said
