"""Gaussians in glTF: as the extension has them, as its drafts had them, packed as SPZ, placed by nodes."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.errors import BadInput
from stages.events import Caution, Event, Note
from stages.gaussians import Gaussians
from stages.gaussians.formats import read_splat, splat_format, write_splat
from stages.gaussians.sh import sh0_to_rgb
from stages.gaussians.transform import mirror, rescale, turn_upright
from tests.gaussians.test_formats import agree, mild

PREFIX = "KHR_gaussian_splatting:"
EXACT = {"means": 1e-6, "scales": 1e-5, "opacities": 1e-6, "angle": 2e-3, "dc": 1e-6, "rest": 1e-6}
KINDS = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
Content = dict[str, Any]


def glb(
    path: Path, asset: Gaussians, edit: Callable[[Content], None] = lambda content: None, prefix: str = PREFIX
) -> Path:
    """A file of one primitive, whose JSON ``edit`` may change."""
    columns = {
        "POSITION": asset.means, f"{prefix}ROTATION": asset.quats[:, [1, 2, 3, 0]], f"{prefix}SCALE": asset.scales,
        f"{prefix}OPACITY": asset.opacities[:, None],
    }  # fmt: skip
    places = [(degree, n) for degree in range(asset.sh_degree + 1) for n in range(2 * degree + 1)]
    columns |= {f"{prefix}SH_DEGREE_{d}_COEF_{n}": asset.sh[:, k] for k, (d, n) in enumerate(places)}
    blob, views, accessors, attributes = b"", [], [], {}
    for name, values in columns.items():
        data = values.numpy().astype("<f4").tobytes()
        attributes[name] = len(accessors)
        accessors.append(
            {"bufferView": len(views), "componentType": 5126, "count": len(values), "type": KINDS[values.shape[1]]}
        )
        views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": len(data)})
        blob += data
    about = {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}
    primitive = {"attributes": attributes, "mode": 0, "extensions": {"KHR_gaussian_splatting": about}}
    content: Content = {
        "asset": {"version": "2.0"}, "extensionsUsed": ["KHR_gaussian_splatting"], "scene": 0,
        "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}], "meshes": [{"primitives": [primitive]}],
        "accessors": accessors, "bufferViews": views, "buffers": [{"byteLength": len(blob)}],
    }  # fmt: skip
    edit(content)
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(blob), b"BIN\0") + blob
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
    return path


def said(path: Path) -> list[str]:
    events: list[Event] = []
    read_splat(path, events.append)
    return [event.text for event in events if isinstance(event, Note | Caution)]


@pytest.mark.parametrize("degree", [0, 1, 3])
def test_as_the_extension_has_them(tmp_path: Path, degree: int) -> None:
    path = glb(tmp_path / "a.glb", mild(degree))
    assert splat_format(path) == ".glb"
    agree(read_splat(path), mild(degree), **EXACT)
    assert said(path) == []


def test_nodes_turn_shift_scale_and_stretch(tmp_path: Path) -> None:
    asset, half = mild(2), 0.5**0.5

    def parent(content: Content) -> None:
        turned = {"rotation": [-half, 0.0, 0.0, half], "scale": [2.0, 2.0, 2.0], "children": [1]}
        content["nodes"] = [turned, {"mesh": 0, "translation": [0.0, 0.0, 3.0]}]

    back = read_splat(glb(tmp_path / "a.glb", asset, parent))
    shifted = Gaussians(**{**vars_of(asset), "means": asset.means + torch.tensor([0.0, 0.0, 3.0])})
    agree(back, rescale(turn_upright(shifted, "z"), 2.0), **{**EXACT, "means": 1e-5, "rest": 1e-5})

    flipped = read_splat(glb(tmp_path / "b.glb", asset, lambda c: c["nodes"][0].update(scale=[-1.0, 1.0, 1.0])))
    expected = mirror(asset, "x")
    torch.testing.assert_close(flipped.means, expected.means)
    torch.testing.assert_close(flipped.sh, expected.sh, atol=1e-5, rtol=0)
    torch.testing.assert_close(spread(flipped), spread(expected), atol=1e-4, rtol=1e-3)

    wide = read_splat(glb(tmp_path / "c.glb", asset, lambda c: c["nodes"][0].update(scale=[3.0, 1.0, 0.5])))
    S = torch.diag(torch.tensor([3.0, 1.0, 0.5]))
    torch.testing.assert_close(spread(wide), S @ spread(asset) @ S, atol=1e-3, rtol=1e-3)


def vars_of(asset: Gaussians) -> dict[str, torch.Tensor]:
    return {name: getattr(asset, name) for name in ("means", "quats", "log_scales", "logit_opacities", "sh")}


def spread(asset: Gaussians) -> torch.Tensor:
    from stages.gaussians.stand_in import covariance

    return covariance(asset).float()


def test_drafts(tmp_path: Path) -> None:
    """The prefix was ``_``; scales were logarithms for a time; the colour was that of the points."""
    agree(read_splat(glb(tmp_path / "a.glb", mild(1), prefix="_")), mild(1), **EXACT)
    logs = Gaussians(**{**vars_of(mild(0)), "log_scales": torch.log(mild(0).log_scales.abs() + 0.1)})
    path = glb(tmp_path / "b.glb", logs)
    data = bytearray(path.read_bytes())
    place = data.index(logs.scales.numpy().astype("<f4").tobytes())
    data[place : place + 240] = mild(0).log_scales.numpy().astype("<f4").tobytes()
    path.write_bytes(data)
    torch.testing.assert_close(read_splat(path).log_scales, mild(0).log_scales)
    assert len(said(path)) == 1 and "logarithms" in said(path)[0]


def test_packed_as_spz(tmp_path: Path) -> None:
    write_splat(tmp_path / "a.spz", mild(1))
    packed = (tmp_path / "a.spz").read_bytes()

    def pack(content: Content) -> None:
        primitive = content["meshes"][0]["primitives"][0]
        content["bufferViews"] = [{"buffer": 0, "byteOffset": 0, "byteLength": len(packed)}]
        content["accessors"] = [{"componentType": 5126, "count": 20, "type": "VEC3"}]
        primitive["attributes"] = {"POSITION": 0}
        about = primitive["extensions"]["KHR_gaussian_splatting"]
        about["extensions"] = {"KHR_gaussian_splatting_compression_spz_2": {"bufferView": 0}}
        content["buffers"] = [{"byteLength": len(packed), "uri": "a.spz"}]
        content["extensionsUsed"].append("KHR_gaussian_splatting_compression_spz_2")

    path = glb(tmp_path / "a.glb", mild(1), pack)
    alone, inside = read_splat(tmp_path / "a.spz"), read_splat(path)
    assert torch.equal(inside.means, alone.means) and torch.equal(inside.sh, alone.sh) and said(path) == []

    def other(content: Content) -> None:
        about = content["meshes"][0]["primitives"][0]["extensions"]["KHR_gaussian_splatting"]
        about["extensions"] = {"EXT_gaussian_splatting_compression_other": {}}

    with pytest.raises(BadInput, match="EXT_gaussian_splatting_compression_other"):
        read_splat(glb(tmp_path / "b.glb", mild(1), other))


def test_linear_light_becomes_that_of_a_display(tmp_path: Path) -> None:
    def linear(content: Content) -> None:
        content["meshes"][0]["primitives"][0]["extensions"]["KHR_gaussian_splatting"]["colorSpace"] = "lin_rec709_scene"

    path = glb(tmp_path / "a.glb", mild(0), linear)
    light = sh0_to_rgb(mild(0).sh[:, 0]).clamp(0, 1).double().numpy()
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)  # IEC 61966-2-1
    np.testing.assert_allclose(sh0_to_rgb(read_splat(path).sh[:, 0]).clamp(0, 1).numpy(), expected, atol=2e-3)
    assert len(said(path)) == 1 and "linear light" in said(path)[0]


def test_what_is_missing_or_not_used_is_named(tmp_path: Path) -> None:
    def lose(content: Content) -> None:
        del content["meshes"][0]["primitives"][0]["attributes"][f"{PREFIX}SCALE"]

    with pytest.raises(BadInput, match="Gaussians without SCALE"):
        read_splat(glb(tmp_path / "a.glb", mild(0), lose))

    def add(content: Content) -> None:
        content["meshes"][0]["primitives"].append({"attributes": {"POSITION": 0}})
        content["extensionsUsed"].append("ACME_sparkle")
        content["meshes"][0]["primitives"][0]["extensions"]["KHR_gaussian_splatting"]["kernel"] = "cube"

    texts = " ".join(said(glb(tmp_path / "b.glb", mild(0), add)))
    assert "ACME_sparkle" in texts and "'cube'" in texts and "1 meshes" in texts
    with pytest.raises(BadInput, match="no Gaussians in its scene"):
        read_splat(glb(tmp_path / "c.glb", mild(0), lambda c: c["scenes"][0].update(nodes=[])))
    (tmp_path / "d.glb").write_bytes((tmp_path / "b.glb").read_bytes()[:200])
    assert splat_format(tmp_path / "d.glb") is None
