"""Points on the triangles of a surface, and its areas and normals."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SurfaceSamples:
    """Points on triangles."""

    faces: Tensor  # [M] index of the triangle
    barycentric: Tensor  # [M, 3]
    spacing: float  # typical distance between samples, world units

    def interpolate(self, corners: Tensor) -> Tensor:
        """Values [M, D] at the samples of per-corner values [F, 3, D]."""
        return (corners[self.faces] * self.barycentric[..., None].to(corners)).sum(dim=1)


def sample_surface(vertices: Tensor, faces: Tensor, num_samples: int, generator: torch.Generator) -> SurfaceSamples:
    """``num_samples`` points spread over the area of ``faces`` [F, 3] of ``vertices`` [V, 3].

    Stratified along the cumulated area, and placed inside their triangle by a low-discrepancy sequence (R2, Roberts
    2018), which leaves fewer holes than independent draws.
    """
    areas = triangle_areas(vertices, faces)
    total = areas.sum()
    jitter = torch.rand(num_samples, generator=generator, dtype=torch.float64)
    positions = (torch.arange(num_samples, dtype=torch.float64) + jitter) / num_samples * total
    index = torch.searchsorted(areas.cumsum(0), positions).clamp(max=len(areas) - 1)
    k = torch.arange(num_samples, dtype=torch.float64)[:, None]
    offset = torch.rand(2, generator=generator, dtype=torch.float64)
    u = (offset + k * torch.tensor([0.7548776662466927, 0.5698402909980532], dtype=torch.float64)) % 1.0
    root = u[:, 0].sqrt()
    barycentric = torch.stack([1.0 - root, root * (1.0 - u[:, 1]), root * u[:, 1]], dim=-1)
    return SurfaceSamples(index, barycentric.to(vertices.dtype), float((total / num_samples).sqrt()))


def triangle_areas(vertices: Tensor, faces: Tensor) -> Tensor:
    """Areas [F] of ``faces`` [F, 3], in double."""
    corners = vertices[faces].double()
    return 0.5 * torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=-1)


def face_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals [F, 3]; degenerate triangles point up."""
    corners = vertices[faces]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = normals.norm(dim=-1, keepdim=True)
    up = torch.tensor([0.0, 1.0, 0.0]).to(normals).expand_as(normals)
    return torch.where(length > 0, normals / length.clamp(min=1e-30), up)


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals [V, 3], faces weighted by area; zero where a vertex has no face with one."""
    a, b, c = vertices[faces].unbind(dim=1)
    normals = torch.linalg.cross(b - a, c - a)[:, None].expand(-1, 3, -1).reshape(-1, 3)
    return torch.nn.functional.normalize(
        torch.zeros_like(vertices).index_add(0, faces.reshape(-1), normals), dim=-1, eps=1e-20
    )
