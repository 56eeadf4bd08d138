"""Meshes become Gaussians: flat ones on the surface, in its colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from stages.gaussians.asset import Gaussians
from stages.gaussians.surface import flat_gaussians
from stages.meshes.light import Light, lit_colors
from stages.meshes.mesh import Mesh, load_mesh, put_on
from stages.meshes.paint import Painted, sample_painted
from stages.meshes.surface import SurfaceSamples, face_normals


def gaussians_from_mesh(
    path: Path, num_gaussians: int, generator: torch.Generator, texture: Path | None = None
) -> Gaussians:
    """Sample the surface of the mesh in ``path``; see ``sample_mesh``.

    ``texture`` is a picture for a mesh that has places in one but names none, as many ``.obj`` do.

    Raises:
        BadInput: as ``load_mesh`` and ``put_on``.
    """
    mesh = load_mesh(path)
    return sample_mesh(mesh if texture is None else put_on(mesh, texture), num_gaussians, generator)


def sample_mesh(mesh: Mesh, num_gaussians: int, generator: torch.Generator, light: Light | None = None) -> Gaussians:
    """Flat Gaussians on the surface, SH degree 0; none where it is cut out. Raises ``BadInput`` when all of it is."""
    return painted_gaussians(mesh.vertices, mesh.faces, mesh.painted, num_gaussians, generator, light)[0]


def painted_gaussians(
    vertices: Tensor,
    faces: Tensor,
    painted: Sequence[Painted],
    num_gaussians: int,
    generator: torch.Generator,
    light: Light | None = None,
) -> tuple[Gaussians, SurfaceSamples]:
    """Flat Gaussians on ``faces`` [F, 3] of ``vertices`` [V, 3], and where they lie. ``light`` is baked into their
    colours; without it these are the file's. Raises ``BadInput`` as ``sample_painted``."""
    samples, colors = sample_painted(vertices, faces, painted, num_gaussians, generator)
    normals = face_normals(vertices, faces)[samples.faces]
    points = samples.interpolate(vertices[faces])
    rgb = colors.rgb if light is None else lit_colors(colors, points, normals, vertices, faces, light)
    return flat_gaussians(points, normals, rgb, samples.spacing, colors.alpha), samples
