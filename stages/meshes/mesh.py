"""A triangle mesh with its colours, from any mesh file: glTF by our own reader, the rest by trimesh."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from PIL import Image
from torch import Tensor

from stages.errors import BadInput, first_line
from stages.meshes.gltf import SUFFIXES, GltfFile, open_gltf, understanding
from stages.meshes.materials import read_paint
from stages.meshes.paint import Paint, Painted, Picture, linear_light
from stages.meshes.scene import primitives
from stages.meshes.surface import triangle_areas


@dataclass(frozen=True)
class Mesh:
    """Triangles in the file's world, and their colours."""

    path: Path
    vertices: Tensor  # [V, 3]
    faces: Tensor  # [F, 3]
    painted: tuple[Painted, ...]
    unused: tuple[str, ...] = ()  # what the file names of its colours and cannot be used

    @property
    def lacks_picture(self) -> bool:
        """Whether some of it has places in a picture, and none there."""
        return any(part.paint.uv is not None and part.paint.picture is None for part in self.painted)

    @property
    def has_colors(self) -> bool:
        """Whether the file says anything of its colours."""
        return any(not part.paint.is_plain for part in self.painted)


def load_mesh(path: Path) -> Mesh:
    """The mesh in ``path``. What has a skin stands as its vertices are stored, in its bind pose.

    Raises:
        BadInput: the file is missing, unreadable or compressed, has no triangles or none with an area, or vertices that
            are NaN or infinite.
    """
    if not path.is_file():
        raise BadInput(f"There is no file {path}.", "Check the path.")
    with understanding(path):
        parts, unused = _of_gltf(path) if path.suffix.lower() in SUFFIXES else _of_trimesh(path)
        if not parts:
            raise BadInput(f"{path} has no triangles.", "Give a mesh with faces, or a .ply splat.")
        first_vertex = np.cumsum([0, *(len(vertices) for vertices, _, _ in parts)])
        first_face = np.cumsum([0, *(len(faces) for _, faces, _ in parts)])
        painted = [Painted(int(first_face[i]), int(first_face[i + 1]), paint) for i, (_, _, paint) in enumerate(parts)]
        for vertices, faces, _ in parts:
            if faces.min() < 0 or faces.max() >= len(vertices):
                raise BadInput(f"{path} has triangles whose vertices are not in the file.", "Export the mesh again.")
        all_faces = np.concatenate([faces + first_vertex[i] for i, (_, faces, _) in enumerate(parts)])
        all_vertices = np.concatenate([vertices for vertices, _, _ in parts]).astype(np.float32)
    mesh = Mesh(path, torch.from_numpy(all_vertices), torch.from_numpy(all_faces), tuple(painted), unused)
    if not mesh.vertices.isfinite().all():
        raise BadInput(f"{path} holds vertices that are NaN or infinite.", "Export the mesh again.")
    if not float(triangle_areas(mesh.vertices, mesh.faces).sum()) > 0.0:
        raise BadInput(f"{path} has no surface: none of its triangles has an area.", "Export the mesh again.")
    return mesh


def put_on(mesh: Mesh, texture: Path) -> Mesh:
    """The mesh with a picture on every part that has texture coordinates.

    Raises:
        BadInput: the picture is missing or cannot be read, or no part has texture coordinates.
    """
    if not texture.is_file():
        raise BadInput(f"There is no file {texture}.", "Check the path given with --texture.")
    try:
        picture = Picture(pixels=_pixels(Image.open(texture)))
    except Exception as error:  # Pillow raises whatever its decoders do
        raise BadInput(f"{texture} cannot be read as a picture: {first_line(error)}.", "Give a .png or .jpg.") from None
    if not any(part.paint.uv is not None for part in mesh.painted):
        raise BadInput(f"{mesh.path} does not say where a texture lies on it.", "Leave --texture away.")
    painted = [
        part if part.paint.uv is None else replace(part, paint=Paint(picture=picture, uv=part.paint.uv))
        for part in mesh.painted
    ]
    return replace(mesh, painted=tuple(painted), unused=())


def as_glb(path: Path) -> bytes:
    """A mesh file that is not glTF, of any kind that trimesh reads, as a binary glTF. Raises ``BadInput``."""
    if not path.is_file():
        raise BadInput(f"There is no file {path}.", "Check the path.")
    with understanding(path):
        return bytes(trimesh.load_scene(str(path), resolver=_Beside(path)).export(file_type="glb"))


Part = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], Paint]
"""Vertices [V, 3] in the file's world, faces [F, 3] among them, and their colours."""


def _of_gltf(path: Path) -> tuple[list[Part], tuple[str, ...]]:
    file = open_gltf(path)
    parts = [
        (part.vertices @ part.world_node[:3, :3].T + part.world_node[:3, 3], part.faces, read_paint(file, part))
        for part in primitives(file)
        if len(part.faces)
    ]
    if not parts:
        refuse_splat(file)
    return parts, tuple(file.missing)


def refuse_splat(file: GltfFile) -> None:
    """Raise ``BadInput`` for a file of Gaussians, which has no triangles."""
    if any("gaussian_splatting" in name for name in file.gltf.extensionsUsed or []):
        raise BadInput(
            f"{file.path} holds Gaussians (KHR_gaussian_splatting), which are not read from glTF.",
            "Save the splat as .ply or .spz.",
        )


class _Beside(trimesh.resolvers.FilePathResolver):
    """Finds the files that a mesh file names, also where it was written on Windows or the name follows options; keeps
    the names of those that are not there."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.missing: list[str] = []

    def get(self, name: str) -> bytes:
        """The bytes of a file. Raises ``FileNotFoundError``."""
        plain = name.replace("\\", "/")
        for candidate in (name, plain, plain.split()[-1] if plain.split() else plain):
            with contextlib.suppress(FileNotFoundError, IsADirectoryError, ValueError):
                return bytes(super().get(candidate))
        self.missing.append(name)
        raise FileNotFoundError(name)


def _of_trimesh(path: Path) -> tuple[list[Part], tuple[str, ...]]:
    beside = _Beside(path)
    meshes = [mesh for mesh in trimesh.load_scene(str(path), resolver=beside).dump()]
    parts = [
        (np.asarray(mesh.vertices), np.asarray(mesh.faces, dtype=np.int64), _paint(mesh))
        for mesh in meshes
        if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces)
    ]
    return parts, tuple(f"a reference to {name}, which is not there" for name in dict.fromkeys(beside.missing))


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
            return Paint(picture=Picture(pixels=_pixels(image)), uv=uv)
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


def _pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image.convert("RGBA"), dtype=np.float32) / 255.0)


def _is_filler(material: Any) -> bool:
    """Whether the file named no material: trimesh then fills in a dark grey and a 2 x 2 picture of its own."""
    filler = trimesh.visual.material.empty_material()
    if type(material) is not type(filler) or material.kwargs or not np.array_equal(material.diffuse, filler.diffuse):
        return False
    return material.image is None or np.array_equal(np.asarray(material.image), np.asarray(filler.image))
