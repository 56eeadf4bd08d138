"""How a mesh file lies in the frame of the asset that was made from it: which axis was turned up, how large, and where.

A run does not record it, and it can be seen: the asset's Gaussians lie on the mesh. So this also tells a mesh that is
not the asset's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from stages.conventions import step_generator
from stages.geometry.rotations import UPRIGHT, quaternion_matrices
from stages.meshes.surface import sample_surface

NUM_SAMPLES = 8000
NUM_MEANS = 2000
FITTING_STEPS = 20
TOLERANCE = 0.005
"""Of the mesh's diagonal: the median distance of an asset's Gaussians from the mesh they were sampled from is 0.0035
for most (0.42 of the spacing of the samples here); a deer fitted into a horse is 0.0068 away, other pairs 0.01 and
more. [ours]"""

OF_SPACING = 0.5
"""A mesh with much surface, as a robot of plates, has its samples farther apart: there this share of their distance is
tolerated. [ours]"""

CLEARLY = 0.8
"""A placement is preferred to a simpler one when Gaussians then lie nearer by this factor, on average: a cube has
many. [ours]"""


@dataclass(frozen=True)
class Placement:
    """asset = scale * R_asset_file @ file + offset."""

    up: str
    R_asset_file: Tensor  # [3, 3]
    scale: float = 1.0
    offset: Tensor | None = None  # [3], none when None

    def to_asset(self, points: Tensor) -> Tensor:
        """Points [..., 3] of the file in the asset's frame."""
        moved = self.scale * points @ self.R_asset_file.T
        return moved if self.offset is None else moved + self.offset

    def matrix(self) -> Tensor:
        """[4, 4] from the file's world to the asset's, in double."""
        matrix = torch.eye(4, dtype=torch.float64)
        matrix[:3, :3] = self.scale * self.R_asset_file.double()
        if self.offset is not None:
            matrix[:3, 3] = self.offset.double()
        return matrix

    def to_file(self, points: Tensor) -> Tensor:
        """Points [..., 3] of the asset's frame in the file's."""
        return self.moves_to_file(points if self.offset is None else points - self.offset)

    def moves_to_file(self, moves: Tensor) -> Tensor:
        """Displacements [..., 3] of the asset's frame in the file's."""
        return moves @ self.R_asset_file / self.scale


def find_placement(vertices: Tensor, faces: Tensor, means: Tensor) -> Placement | None:
    """Where the mesh ``vertices`` [V, 3], ``faces`` [F, 3] lies among the asset's ``means`` [N, 3]; None: it does not.

    First as ``reconstruct`` leaves it (turned at most), then with the scale and offset that bring it nearest.
    """
    samples = sample_surface(vertices, faces, NUM_SAMPLES, step_generator(0, 0))
    surface = samples.interpolate(vertices[faces])
    diagonal = float((surface.amax(dim=0) - surface.amin(dim=0)).norm().clamp(min=1e-12))
    some = means[torch.linspace(0, len(means) - 1, min(NUM_MEANS, len(means))).long()]
    turned = [Placement(up, quaternion_matrices(torch.tensor(turn, dtype=means.dtype))) for up, turn in UPRIGHT.items()]
    for candidates in (turned, [_fitted(placement, surface, some) for placement in turned]):
        best, nearest, tolerated = None, 0.0, max(TOLERANCE, OF_SPACING * samples.spacing / diagonal)
        for placement in candidates:
            median, mean = _distances(placement, surface, some)
            if median < tolerated and (best is None or mean < CLEARLY * nearest):
                best, nearest = placement, mean
        if best is not None:
            return best
    return None


def _distances(placement: Placement, surface: Tensor, means: Tensor) -> tuple[float, float]:
    """Median and mean distance of ``means`` from the placed ``surface``, over the surface's diagonal. The median says
    whether they belong together, whatever some of them do; the mean sees the few by which two turns differ."""
    placed = placement.to_asset(surface)
    distances, _ = cKDTree(placed.numpy()).query(means.numpy())
    away, diagonal = torch.from_numpy(distances), max(float((placed.amax(dim=0) - placed.amin(dim=0)).norm()), 1e-12)
    return float(away.median()) / diagonal, float(away.mean()) / diagonal


def _fitted(start: Placement, surface: Tensor, means: Tensor) -> Placement:
    """The same turn with scale and offset: from the boxes, then by iterated closest points (Besl and McKay 1992)."""
    turned = surface @ start.R_asset_file.T
    (low, high), (to_low, to_high) = (torch.aminmax(points, dim=0) for points in (turned, means))
    scale = float((to_high - to_low).norm() / (high - low).norm().clamp(min=1e-12))
    offset = 0.5 * (to_low + to_high) - scale * 0.5 * (low + high)
    tree = cKDTree(turned.numpy())
    for _ in range(FITTING_STEPS):
        _, nearest = tree.query(((means - offset) / max(scale, 1e-12)).numpy())
        partners = turned[torch.from_numpy(nearest)]
        centre, to_centre = partners.mean(dim=0), means.mean(dim=0)
        a, b = partners - centre, means - to_centre
        scale = float((a * b).sum() / (a * a).sum().clamp(min=1e-12))
        offset = to_centre - scale * centre
    return Placement(start.up, start.R_asset_file, scale, offset)
