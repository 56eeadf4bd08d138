"""A triangle mesh with its colours, from any mesh file: glTF and OBJ by our own readers, the rest by trimesh."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stages.errors import BadInput, first_line
from stages.meshes.gltf import SUFFIXES, GltfFile, has_splats, open_gltf, understanding
from stages.meshes.materials import read_paint, tell_extensions
from stages.meshes.other_meshes import read_parts
from stages.meshes.paint import Paint, Painted, Part, Picture, read_pixels
from stages.meshes.scene import primitives
from stages.meshes.surface import triangle_areas


@dataclass(frozen=True)
class Mesh:
    """Triangles in the file's world, and their colours."""

    path: Path
    vertices: Tensor  # [V, 3]
    faces: Tensor  # [F, 3]
    painted: tuple[Painted, ...]
    unused: tuple[str, ...] = ()  # what the file names and cannot be used
    told: tuple[str, ...] = ()  # whole sentences about how the file was read

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
        parts, unused, told = _of_gltf(path) if path.suffix.lower() in SUFFIXES else read_parts(path)
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
    mesh = Mesh(
        path, torch.from_numpy(all_vertices), torch.from_numpy(all_faces), tuple(painted), tuple(unused), tuple(told)
    )
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
        picture = Picture(pixels=read_pixels(Image.open(texture)))
    except Exception as error:  # Pillow raises whatever its decoders do
        raise BadInput(f"{texture} cannot be read as a picture: {first_line(error)}.", "Give a .png or .jpg.") from None
    if not any(part.paint.uv is not None for part in mesh.painted):
        raise BadInput(f"{mesh.path} does not say where a texture lies on it.", "Leave --texture away.")
    painted = [
        part if part.paint.uv is None else replace(part, paint=Paint(picture=picture, uv=part.paint.uv))
        for part in mesh.painted
    ]
    return replace(mesh, painted=tuple(painted), unused=())


def _of_gltf(path: Path) -> tuple[list[Part], list[str], list[str]]:
    file = open_gltf(path)
    tell_extensions(file)
    parts = [
        (part.vertices @ part.world_node[:3, :3].T + part.world_node[:3, 3], part.faces, read_paint(file, part))
        for part in primitives(file)
        if len(part.faces)
    ]
    if not parts:
        refuse_splat(file)
    return parts, file.missing, file.told


def refuse_splat(file: GltfFile) -> None:
    """Raise ``BadInput`` for a file of Gaussians, which has no triangles."""
    if has_splats(file.gltf):
        raise BadInput(
            f"{file.path} holds Gaussians (KHR_gaussian_splatting), and a mesh is asked for.",
            "Gaussians are read by: animus3d reconstruct FILE",
        )
