"""The nearest point of a triangle mesh. The only importer of libigl's distance queries."""

from __future__ import annotations

import igl
import numpy as np
import torch
from torch import Tensor


def nearest_on_surface(points: Tensor, vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Of each of ``points`` [P, 3] the face [P] of a mesh on which its nearest point lies, and that point's barycentric
    coordinates [P, 3] there.

    ``vertices`` [V, 3], ``faces`` [F, 3]. No gradient.
    """
    corners = vertices.detach().cpu().double().numpy()
    triangles = faces.detach().cpu().numpy().astype(np.int64)
    queries = points.detach().cpu().double().numpy()
    _, found, nearest = igl.point_mesh_squared_distance(queries, corners, triangles)
    a, b, c = (corners[triangles[found, k]] for k in range(3))
    shares = _barycentric(nearest, a, b, c)
    return torch.from_numpy(np.asarray(found)).to(points.device), torch.from_numpy(shares).to(points)


def _barycentric(p: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Barycentric coordinates [P, 3] of points ``p`` on triangles; of a triangle without area, its first corner's."""
    u, v, w = b - a, c - a, p - a
    uu, uv, vv = (u * u).sum(1), (u * v).sum(1), (v * v).sum(1)
    wu, wv = (w * u).sum(1), (w * v).sum(1)
    area = uu * vv - uv * uv
    flat = area <= 1e-12 * np.maximum(uu * vv, 1e-300)
    area = np.where(flat, 1.0, area)
    beta = np.where(flat, 0.0, (vv * wu - uv * wv) / area)
    gamma = np.where(flat, 0.0, (uu * wv - uv * wu) / area)
    shares = np.clip(np.stack([1.0 - beta - gamma, beta, gamma], axis=1), 0.0, 1.0)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
