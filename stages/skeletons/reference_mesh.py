"""A closed surface around a splat that has no mesh: what skin weights and joints are found on.

The Gaussians are drawn into voxels as a thick shell. What the shell encloses is filled: a voxel is inside where rays in
24 of the 26 directions to its neighbours meet the shell, so a body may have a hole or two. Then the solid is made
thinner by as much as the shell was thick, so that thin legs stay and the surface lies where the Gaussians are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import igl
import numpy as np
import torch
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor

from stages.errors import BadInput
from stages.gaussians import Gaussians

Array = np.ndarray[Any, Any]

MOST_VOXELS = 96
"""Along the longest side: finer ones make the surface heavy and find no thinner leg."""
HITS = 24
"""Of 26 directions."""
FAINTEST = 0.1
"""Gaussians less opaque than this are haze."""
FEWEST = 20
"""Gaussians of which a surface can be made."""
CRUMB = 0.01
"""Separate parts with less than this share of the Gaussians are left out."""
BODY = 0.2
"""A separate part with this share of the Gaussians is a body of its own."""
ROUND = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class Solid:
    """Voxels that a body fills, and those of its separate parts.

    Args:
        parts: [X, Y, Z] 0 outside, else the part's number; parts are numbered from the largest, from 1 on.
        shares: of each part, how much of the Gaussians lies in it.
        origin: [3] the centre of voxel 0, 0, 0.
        step: the voxels' size.
        shell: how thick the shell was drawn, world units.
    """

    parts: Array
    shares: tuple[float, ...]
    origin: Array
    step: float
    shell: float


def reference_mesh(gaussians: Gaussians) -> tuple[Tensor, Tensor]:
    """A closed surface, vertices [V, 3] and faces [F, 3], around the Gaussians of the body; crumbs are left out.

    Raises ``BadInput``: too few Gaussians are left, or they fill no space.
    """
    solid = fill(gaussians)
    kept = np.isin(solid.parts, [part + 1 for part, share in enumerate(solid.shares) if share >= CRUMB])
    vertices, faces = voxel_surface(kept, inset=solid.shell / solid.step - 0.75)
    points = solid.origin + solid.step * vertices
    return torch.from_numpy(points).to(gaussians.means), torch.from_numpy(faces).to(gaussians.means.device)


def num_bodies(gaussians: Gaussians) -> int:
    """How many separate large bodies a splat holds; 1 as a rule. A skeleton serves one.

    Raises ``BadInput``: as ``reference_mesh`` does.
    """
    return max(1, sum(share >= BODY for share in fill(gaussians).shares))


def fill(gaussians: Gaussians) -> Solid:
    """The space that the body of a splat fills, thicker by the shell than the body is.

    Raises ``BadInput``: too few Gaussians are left, or they lie at one place.
    """
    finite = gaussians.means.isfinite().all(dim=-1)
    gaussians = gaussians.select(finite)
    num = gaussians.num_gaussians
    kept = gaussians.select(gaussians.body & (gaussians.opacities >= FAINTEST)) if num else gaussians
    points = kept.means.detach().cpu().double().numpy()
    side = float(np.ptp(points, axis=0).max()) if len(points) else 0.0
    if len(points) < FEWEST or side <= 0.0:
        raise BadInput(
            f"{len(points)} of {num} Gaussians are opaque and part of a body: too few for a surface.",
            "Give a splat of an object, or one with its mesh.",
        )
    spacing = float(np.median(cKDTree(points).query(points, k=8)[0][:, 7]))
    step = max(0.5 * spacing, side / MOST_VOXELS)
    shell = max(spacing, 1.5 * step)
    margin = int(np.ceil(shell / step)) + 2
    origin = points.min(axis=0) - margin * step
    cells = np.round((points - origin) / step).astype(np.int64)
    empty = np.ones(cells.max(axis=0) + margin + 1, bool)
    empty[tuple(cells.T)] = False
    drawn = ndimage.distance_transform_edt(empty) * step <= shell
    parts, num_parts = ndimage.label(enclosed(drawn), ROUND)
    own = np.bincount(parts[tuple(cells.T)], minlength=num_parts + 1)[1:]
    order = np.argsort(-own, kind="stable")
    renumber = np.zeros(num_parts + 1, np.int64)
    renumber[order + 1] = np.arange(num_parts) + 1
    return Solid(renumber[parts], tuple((own[order] / len(points)).tolist()), origin, step, shell)


def enclosed(shell: Array) -> Array:
    """The voxels [X, Y, Z] of a shell, and those from which at least ``HITS`` of 26 rays meet it."""
    hits = np.zeros(shell.shape, np.int8)
    for direction in product((-1, 0, 1), repeat=3):
        if any(direction):
            hits += _meets(shell, direction)
    filled = shell | (hits >= HITS)
    return np.asarray(ndimage.binary_fill_holes(filled))


def _meets(shell: Array, direction: tuple[int, ...]) -> Array:
    """Whether the ray from each voxel along ``direction``, each number -1, 0 or 1, meets the shell."""
    axis = next(i for i, step in enumerate(direction) if step)
    met = np.moveaxis(shell, axis, 0).copy()  # layer by layer, from the end where rays leave the grid
    rest = [step for i, step in enumerate(direction) if i != axis]
    layers = range(len(met) - 2, -1, -1) if direction[axis] > 0 else range(1, len(met))
    for layer in layers:
        met[layer] |= _shifted(met[layer + direction[axis]], rest)
    return np.moveaxis(met, 0, axis)


def _shifted(layer: Array, steps: list[int]) -> Array:
    """A layer [A, B] read ``steps`` further on; False beyond its edge."""
    padded = np.pad(layer, 1)
    a, b = (1 + step for step in steps)
    return padded[a : a + layer.shape[0], b : b + layer.shape[1]]


def voxel_surface(filled: Array, inset: float = 0.0) -> tuple[Array, Array]:
    """The surface of a solid of voxels, ``inset`` voxels inside it: vertices [V, 3] in voxels, faces [F, 3] outwards.

    Raises ``BadInput``: nothing is left.
    """
    depth = ndimage.distance_transform_edt(filled) - ndimage.distance_transform_edt(~filled)
    depth = ndimage.gaussian_filter(np.where(filled, depth - 0.5, depth + 0.5), 0.7) - inset
    if depth.max() <= 0.0:
        raise BadInput("The Gaussians fill no space that has a surface.", "Give a splat of an object.")
    corners = np.indices(depth.shape, dtype=np.float64).reshape(3, -1, order="F").T  # x runs fastest
    found, faces, _ = igl.marching_cubes(depth.reshape(-1, order="F"), np.ascontiguousarray(corners), *depth.shape, 0.0)
    return np.ascontiguousarray(found), np.ascontiguousarray(faces[:, ::-1].astype(np.int64))
