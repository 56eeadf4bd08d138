"""Mesh files that trimesh reads: PLY, STL and others. Importing it takes long; ``other_meshes`` does where it must."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from torch import Tensor

from stages.meshes.beside import find_beside
from stages.meshes.paint import Paint, Part, Picture, linear_light, read_pixels

Array = np.ndarray[Any, Any]

OTHER_COLORS = (("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))
"""Names of vertex colours in PLY files that trimesh passes over."""

USED_FIELDS = {
    "x", "y", "z", "nx", "ny", "nz", "red", "green", "blue", "alpha", "s", "t", "u", "v", "texture_u", "texture_v",
    "diffuse_red", "diffuse_green", "diffuse_blue", "r", "g", "b", "a", "flags",
}  # fmt: skip

logging.getLogger("trimesh").setLevel(logging.CRITICAL + 1)  # what it has to say, the reader says in one line


class _Beside(trimesh.resolvers.FilePathResolver):
    """Finds the files that a mesh file names; keeps the names of those that are not there."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.folder = path.parent
        self.missing: list[str] = []

    def get(self, name: str) -> bytes:
        """The bytes of a file. Raises ``FileNotFoundError``."""
        found = find_beside(self.folder, name)
        if found is None:
            self.missing.append(name)
            raise FileNotFoundError(name)
        return found.read_bytes()


def read_by_trimesh(path: Path) -> tuple[list[Part], list[str]]:
    """The parts of a mesh file, and what it names and cannot be used. Raises whatever trimesh does."""
    beside = _Beside(path)
    parts: list[Part] = []
    unused: list[str] = []
    scene: Any = trimesh.load_scene(str(path), resolver=beside, process=False)
    for mesh in scene.dump():
        raw = mesh.metadata.get("_ply_raw", {})
        if not isinstance(mesh, trimesh.Trimesh):
            vertices, faces = np.asarray(mesh.vertices), _strips(raw)
            paint = Paint()
        else:
            vertices, faces, paint = np.asarray(mesh.vertices), np.asarray(mesh.faces, dtype=np.int64), _paint(mesh)
        if not len(faces):
            continue
        if paint.is_plain and (colors := _other_colors(raw, len(vertices))) is not None:
            paint = Paint(tint=_linear(colors)[torch.from_numpy(faces)], uv=paint.uv)
        unused += _unused(raw)
        if path.suffix.lower() == ".stl" and np.any(mesh.face_attributes.get("stl", 0)):
            unused.append("colours of STL faces, which are not used here")
        parts.append((vertices.astype(np.float64), faces, paint))
    unused += [f"a reference to {name}, which is not there" for name in beside.missing]
    return parts, list(dict.fromkeys(unused))


def _strips(raw: Any) -> Array:
    """Triangles [F, 3] of a PLY's strips, which -1 parts; every second one is wound the other way."""
    rows = raw.get("tristrips", {}).get("data", {})
    names = [] if not len(rows) else list(rows.dtype.names if hasattr(rows, "dtype") else rows)
    if not names:
        return np.zeros((0, 3), np.int64)
    found = []
    values = rows[names[0]]
    flat = values["f1"] if getattr(values, "dtype", None) is not None and values.dtype.names else values
    for row in np.asarray(flat, dtype=object).reshape(-1) if np.asarray(flat).dtype == object else [np.ravel(flat)]:
        corners = np.asarray(row, dtype=np.int64).ravel()
        for strip in np.split(corners, np.flatnonzero(corners < 0)):
            strip = strip[strip >= 0]
            for k in range(len(strip) - 2):
                found.append((strip[k + k % 2], strip[k + 1 - k % 2], strip[k + 2]))
    return np.array(found, np.int64).reshape(-1, 3)


def _other_colors(raw: Any, num_vertices: int) -> Array | None:
    """Vertex colours [V, 4] from 0 to 255 under other names; None where there are none."""
    data = raw.get("vertex", {}).get("data", ())
    names = (data.dtype.names if hasattr(data, "dtype") else list(data)) or ()
    for wanted in OTHER_COLORS:
        if all(name in names for name in wanted) and len(data[wanted[0]]) == num_vertices:
            columns = [np.ravel(data[name]) for name in wanted]
            whole = all(np.issubdtype(column.dtype, np.integer) for column in columns)
            rgb = np.stack(columns, axis=1).astype(np.float64) * (1.0 if whole else 255.0)
            return np.concatenate([rgb, np.full((num_vertices, 1), 255.0)], axis=1)
    return None


def _unused(raw: Any) -> list[str]:
    """Fields of a PLY's vertices that change nothing here."""
    fields = [name for name in raw.get("vertex", {}).get("properties", {}) if name not in USED_FIELDS]
    return [f"fields that are not used here ({', '.join(fields)})"] if fields else []


def _paint(mesh: trimesh.Trimesh) -> Paint:
    """What trimesh says of the colours, which are displayed values in the formats it reads here."""
    visual: Any = mesh.visual
    faces = np.asarray(mesh.faces)
    if isinstance(visual, trimesh.visual.TextureVisuals):
        uv = None
        if visual.uv is not None:  # trimesh counts v upwards
            uv = torch.from_numpy((np.asarray(visual.uv) * (1.0, -1.0) + (0.0, 1.0)).astype(np.float32)[faces])
        if _is_filler(visual.material):
            return Paint(uv=uv)
        image = getattr(visual.material, "image", None)
        if image is not None and uv is not None:
            return Paint(picture=Picture(pixels=read_pixels(image)), uv=uv)
        diffuse = getattr(visual.material, "diffuse", None)
        return Paint(factor=torch.ones(4) if diffuse is None else _linear(diffuse), uv=uv)
    if visual.kind == "vertex":
        return Paint(tint=_linear(visual.vertex_colors)[torch.from_numpy(faces)])
    if visual.kind == "face":
        return Paint(tint=_linear(visual.face_colors)[:, None].expand(-1, 3, -1))
    return Paint()


def _linear(rgba: Any) -> Tensor:
    """Linear light and alpha [..., 4] of displayed colours in [0, 255]."""
    color = torch.from_numpy(np.asarray(rgba, dtype=np.float32) / 255.0)
    return torch.cat([linear_light(color[..., :3]), color[..., 3:]], dim=-1)


def _is_filler(material: Any) -> bool:
    """Whether the file named no material: trimesh then fills in a dark grey and a 2 x 2 picture of its own."""
    filler = trimesh.visual.material.empty_material()
    if type(material) is not type(filler) or material.kwargs or not np.array_equal(material.diffuse, filler.diffuse):
        return False
    return material.image is None or np.array_equal(np.asarray(material.image), np.asarray(filler.image))
