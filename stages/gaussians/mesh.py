"""Meshes become Gaussians: ``.glb`` and ``.obj`` with vertex colours, material colours or textures, through trimesh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from PIL import Image
from torch import Tensor

from stages.errors import BadInput
from stages.gaussians.asset import Gaussians
from stages.gaussians.surface import flat_gaussians
from stages.meshes.surface import face_normals, sample_surface, triangle_areas

PLAIN = 0.7
"""Grey of a mesh without any colour."""


def gaussians_from_mesh(
    path: Path, num_gaussians: int, generator: torch.Generator, texture: Path | None = None
) -> Gaussians:
    """Sample the surface of the mesh in ``path`` into flat Gaussians, SH degree 0.

    ``texture`` is a picture for a mesh that has places in one but names none, as many ``.obj`` do.

    Raises:
        BadInput: a file is missing or cannot be read; the mesh has no triangles, none with an area, or with ``texture``
            no texture coordinates.
    """
    vertices, faces, parts = _load(path)
    if texture is not None:
        _put_on(parts, texture, path)
    if not float(triangle_areas(vertices, faces).sum()) > 0.0:
        raise BadInput(f"{path} has no surface: none of its triangles has an area.", "Export the mesh again.")
    samples = sample_surface(vertices, faces, num_gaussians, generator)
    points, normals = samples.interpolate(vertices[faces]), face_normals(vertices, faces)[samples.faces]
    colors = torch.full((num_gaussians, 3), PLAIN)
    for first, last, visual in parts:
        chosen = (samples.faces >= first) & (samples.faces < last)
        if chosen.any():
            own = samples.faces[chosen] - first
            colors[chosen] = _colors(visual, faces[first:last][own], vertices, own, samples.barycentric[chosen])
    return flat_gaussians(points, normals, colors, samples.spacing)


def has_colors(path: Path) -> bool:
    """Whether a mesh says anything of its colours. Raises ``BadInput`` as ``gaussians_from_mesh``."""
    return any(not _is_plain(visual) for _, _, (visual, _) in _load(path)[2])


def _is_plain(visual: Any) -> bool:
    if isinstance(visual, trimesh.visual.TextureVisuals):
        return _is_filler(visual.material)
    return visual.kind not in ("vertex", "face")


def _put_on(parts: list[tuple[int, int, Any]], texture: Path, path: Path) -> None:
    """Give every part with texture coordinates the picture."""
    if not texture.is_file():
        raise BadInput(f"There is no file {texture}.", "Check the path given with --texture.")
    try:
        image = Image.open(texture).convert("RGB")
    except Exception as error:  # Pillow raises whatever its decoders do
        raise BadInput(f"{texture} cannot be read as a picture: {error}.", "Give a .png or .jpg.") from None
    mapped = [visual for _, _, (visual, _) in parts if getattr(visual, "uv", None) is not None]
    if not mapped:
        raise BadInput(f"{path} does not say where a texture lies on it.", "Leave --texture away.")
    for visual in mapped:
        visual.material = trimesh.visual.material.PBRMaterial(baseColorTexture=image)


def _load(path: Path) -> tuple[Tensor, Tensor, list[tuple[int, int, Any]]]:
    """All vertices [V, 3] and faces [F, 3] in the world, and (first face, last face, (visual, first vertex)) a part."""
    if not path.is_file():
        raise BadInput(f"There is no file {path}.", "Check the path.")
    try:
        scene = trimesh.load_scene(str(path))
        meshes = [mesh for mesh in scene.dump() if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces)]
    except Exception as error:  # trimesh's loaders raise whatever their parsers do
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(f"{path} cannot be read as a mesh: {reason}.", "Export it again.") from None
    if not meshes:
        raise BadInput(f"{path} has no triangles.", "Give a mesh with faces, or a .ply splat.")
    vertices, faces, parts = [], [], []
    num_vertices = num_faces = 0
    for mesh in meshes:
        vertices.append(np.asarray(mesh.vertices, dtype=np.float32))
        faces.append(np.asarray(mesh.faces, dtype=np.int64) + num_vertices)
        parts.append((num_faces, num_faces + len(mesh.faces), (mesh.visual, num_vertices)))
        num_vertices, num_faces = num_vertices + len(mesh.vertices), num_faces + len(mesh.faces)
        if mesh.faces.min() < 0 or mesh.faces.max() >= len(mesh.vertices):
            raise BadInput(f"{path} has triangles whose vertices are not in the file.", "Export the mesh again.")
    all_vertices = torch.from_numpy(np.concatenate(vertices))
    if not all_vertices.isfinite().all():
        raise BadInput(f"{path} holds vertices that are NaN or infinite.", "Export the mesh again.")
    return all_vertices, torch.from_numpy(np.concatenate(faces)), parts


def _colors(part: Any, corners: Tensor, vertices: Tensor, faces: Tensor, barycentric: Tensor) -> Tensor:
    """Displayed colours [M, 3] of samples in ``faces`` [M] of one mesh, whose vertex ids are ``corners`` [M, 3]."""
    visual, first_vertex = part
    local = corners - first_vertex
    if isinstance(visual, trimesh.visual.TextureVisuals):
        if _is_filler(visual.material):
            return torch.full((len(faces), 3), PLAIN)
        image, factor = _texture(visual.material)
        if image is not None and visual.uv is not None:
            uv = torch.from_numpy(np.asarray(visual.uv, dtype=np.float32))[local]
            return _lookup(image, (uv * barycentric[..., None]).sum(dim=1)) * factor
        return factor.expand(len(faces), 3)
    if visual.kind == "vertex":
        own = torch.from_numpy(np.asarray(visual.vertex_colors[:, :3], dtype=np.float32) / 255.0)[local]
        return (own * barycentric[..., None]).sum(dim=1)
    if visual.kind == "face":
        return torch.from_numpy(np.asarray(visual.face_colors[:, :3], dtype=np.float32) / 255.0)[faces]
    return torch.full((len(faces), 3), PLAIN)


def _is_filler(material: Any) -> bool:
    """Whether the file named no material: trimesh then fills in a dark grey and a 2 x 2 picture of its own."""
    filler = trimesh.visual.material.empty_material()
    if type(material) is not type(filler) or material.kwargs or not np.array_equal(material.diffuse, filler.diffuse):
        return False
    return material.image is None or np.array_equal(np.asarray(material.image), np.asarray(filler.image))


def _texture(material: Any) -> tuple[Tensor | None, Tensor]:
    """Texture [H, W, 3] if there is one, and the colour [3] that multiplies it (or stands alone), as displayed."""
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    texture = None if image is None else torch.from_numpy(np.asarray(image.convert("RGB"), dtype=np.float32) / 255.0)
    base = getattr(material, "baseColorFactor", None)
    if base is not None:  # glTF's factors are linear light
        base = np.asarray(base, dtype=np.float64)[:3]
        base = base / 255.0 if base.max() > 1.0 else base
        base = np.where(base <= 0.0031308, 12.92 * base, 1.055 * np.maximum(base, 1e-9) ** (1 / 2.4) - 0.055)
    elif texture is None and getattr(material, "diffuse", None) is not None:
        base = np.asarray(material.diffuse, dtype=np.float64)[:3] / 255.0
    else:
        base = np.ones(3)
    return texture, torch.from_numpy(np.asarray(base, dtype=np.float32))


def _lookup(image: Tensor, uv: Tensor) -> Tensor:
    """Nearest texels [M, 3] at ``uv`` [M, 2] with v upwards, repeated outside [0, 1]."""
    height, width = image.shape[:2]
    column = ((uv[:, 0] % 1.0) * width).long().clamp(max=width - 1)
    row = ((1.0 - uv[:, 1] % 1.0) * height).long().clamp(max=height - 1)
    return image[row, column]


def mesh_as_glb(path: Path) -> bytes:
    """The mesh file in ``path``, of any kind that trimesh reads, as a binary glTF. Raises ``BadInput``."""
    if not path.is_file():
        raise BadInput(f"There is no file {path}.", "Check the path.")
    try:
        return bytes(trimesh.load_scene(str(path)).export(file_type="glb"))
    except Exception as error:  # trimesh's loaders raise whatever their parsers do
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(f"{path} cannot be read as a mesh: {reason}.", "Export it again.") from None
