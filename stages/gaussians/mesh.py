"""Meshes become Gaussians: flat ones on the surface, in its colours."""

from __future__ import annotations

from pathlib import Path

import torch

from stages.gaussians.asset import Gaussians
from stages.gaussians.surface import flat_gaussians
from stages.meshes.mesh import Mesh, load_mesh, put_on
from stages.meshes.paint import sample_painted
from stages.meshes.surface import face_normals


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


def sample_mesh(mesh: Mesh, num_gaussians: int, generator: torch.Generator) -> Gaussians:
    """Flat Gaussians on the surface, SH degree 0; none where it is cut out. Raises ``BadInput`` when all of it is."""
    samples, colors = sample_painted(mesh.vertices, mesh.faces, mesh.painted, num_gaussians, generator)
    normals = face_normals(mesh.vertices, mesh.faces)[samples.faces]
    return flat_gaussians(samples.interpolate(mesh.vertices[mesh.faces]), normals, colors, samples.spacing)
