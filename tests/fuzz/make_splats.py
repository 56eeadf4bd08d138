"""Small valid splats for the campaign: by the project's writers, and by encoders of the tests."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from plyfile import PlyData

from stages.gaussians.formats import write_splat
from tests.gaussians.test_formats import mild
from tests.gaussians.test_ply_dialects import columns, save
from tests.gaussians.test_splat_glb import glb
from tests.meshes.gltf_files import Gltf


def written(suffix: str, degree: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write_splat(folder / f"a{suffix}", mild(degree))
        return folder / f"a{suffix}"

    return make


def inria_ply(**how: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write_splat(folder / "a.ply", mild(1))
        content = PlyData.read(io.BytesIO((folder / "a.ply").read_bytes()))
        content.text, content.byte_order = how.get("text", False), how.get("order", "<")
        content.write(str(folder / "a.ply"))
        return folder / "a.ply"

    return make


def splat_glb(folder: Path) -> Path:
    return glb(folder / "a.glb", mild(1))


def spz_glb(folder: Path) -> Path:
    write_splat(folder / "a.spz", mild(1))
    made = Gltf()
    packed = made.view((folder / "a.spz").read_bytes())
    made.json["accessors"] = [{"componentType": 5126, "count": 20, "type": "VEC3"}]
    made.primitive["attributes"]["POSITION"] = 0
    (folder / "a.spz").unlink()
    made.primitive["mode"] = 0
    inside = {"KHR_gaussian_splatting_compression_spz_2": {"bufferView": packed}}
    made.primitive["extensions"] = {"KHR_gaussian_splatting": {"extensions": inside}}
    return made.write_glb(folder / "a.glb")


def two_scales(folder: Path) -> Path:
    """As 2DGS writes them: flat."""
    table = columns(mild(1), folder / "a.ply")
    del table["scale_2"]
    return save(folder / "a.ply", table)


def filtered(folder: Path) -> Path:
    """As Mip-Splatting writes them."""
    table = columns(mild(1), folder / "a.ply")
    return save(folder / "a.ply", table | {"filter_3D": np.linspace(0.0, 0.1, len(table["x"]), dtype=np.float32)})


def georeferenced(folder: Path) -> Path:
    """Far from the origin, in doubles, with plain colours."""
    table = columns(mild(0), folder / "a.ply")
    far = {name: table[name].astype(np.float64) + 5.1e5 for name in "xyz"}
    colors = {name: np.full(len(table["x"]), 120, np.uint8) for name in ("red", "green", "blue")}
    kept = {name: values for name, values in table.items() if not name.startswith("f_dc")}
    return save(folder / "a.ply", kept | far | colors)
