"""The flat floor that a captured or generated body stands on: found as the largest nearly level plane with nothing
below it, which is wide and whole, as no part of a body is."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.spatial import ConvexHull, QhullError
from torch import Tensor

from stages.gaussians.asset import Gaussians
from stages.gaussians.cleaning import pieces

Array = np.ndarray[Any, Any]

TRIES, LOOKED_AT = 400, 4000
"""Planes through three Gaussians each, and by how many they are judged (RANSAC, Fischler and Bolles 1981)."""
THICK = 0.02
"""Half of a floor's thickness over the asset's diagonal. All of these are [ours]."""
TILT_DEG = 25.0
"""A floor is level within this."""
BELOW = 0.05
"""Share of the Gaussians that may lie below a floor."""
CELL = 0.04
"""Side of the squares in which areas are counted, over the diagonal."""
WIDER = 3.0
"""A floor covers this many times what stands on it."""
WHOLE = 0.85
"""And this share of its own outline: wings that are spread do not."""
STANDING = 0.1
"""Share of the Gaussians that stand on it, at least; with less the thing itself is flat."""
CRUMB, LOW = 0.02, 0.15
"""A piece with less than this share of what stands, no part of it higher than this over the diagonal, is grass."""
FAINT = 0.1
FEWEST = 200


def floor_of(gaussians: Gaussians) -> Tensor | None:
    """Which Gaussians [N] are a floor, with what lies below it and grass on it; None: there is none. They have y up."""
    counted = (gaussians.body & (gaussians.opacities.reshape(-1) >= FAINT)).cpu().numpy()
    means = gaussians.means.detach().cpu().double().numpy()
    points = means[counted]
    if len(points) < FEWEST:
        return None
    diagonal = float(np.linalg.norm(np.diff(np.quantile(points, (0.01, 0.99), axis=0), axis=0)))
    plane = _lowest_plane(points, THICK * diagonal)
    if plane is None:
        return None
    normal, middle = plane
    height = (points - middle) @ normal
    low, above = height <= THICK * diagonal, height > 2.0 * THICK * diagonal
    if above.mean() < STANDING:
        return None
    across = np.cross(normal, [0.0, 0.0, 1.0])
    level = np.stack([points @ across, points @ np.cross(normal, across)], axis=1) / (CELL * diagonal)
    area = _squares(level[low])
    try:
        outline = ConvexHull(level[low]).volume  # of a flat hull: its area
    except QhullError:  # a line
        return None
    if area < WIDER * _squares(level[above]) or area < WHOLE * outline:
        return None
    height = (means - middle) @ normal
    floor = height <= 1.5 * THICK * diagonal
    standing = np.flatnonzero(~floor)
    label = pieces(gaussians.select(torch.from_numpy(~floor)).to("cpu")).numpy()
    count, top = np.bincount(label), np.full(label.max() + 1, -np.inf)
    np.maximum.at(top, label, height[standing])
    grass = (count < CRUMB * len(standing)) & (top <= LOW * diagonal)
    floor[standing[grass[label]]] = True
    return torch.from_numpy(floor).to(gaussians.means.device)


def _lowest_plane(points: Array, thick: float) -> tuple[Array, Array] | None:
    """The unit normal, upwards, and a point of the nearly level plane with most of ``points`` [M, 3] within ``thick``
    and hardly any below."""
    rng = np.random.default_rng(0)
    some = points[rng.permutation(len(points))[:LOOKED_AT]]
    lower = some[some[:, 1] <= np.median(some[:, 1]) + thick]
    best: tuple[int, Array, Array] | None = None
    for _ in range(TRIES):
        a, b, c = lower[rng.integers(len(lower), size=3)]
        normal = np.cross(b - a, c - a)
        length = float(np.linalg.norm(normal))
        if length < thick**2 or abs(normal[1]) < np.cos(np.radians(TILT_DEG)) * length:
            continue
        normal = normal * (np.sign(normal[1]) / length)
        height = (some - a) @ normal
        near = int((np.abs(height) <= thick).sum())
        if (best is None or near > best[0]) and (height < -thick).mean() <= BELOW:
            best = near, normal, a
    if best is None:
        return None
    _, normal, middle = best
    for _ in range(3):  # the plane through all that lie near it
        near_it = points[np.abs((points - middle) @ normal) <= thick]
        if len(near_it) < 3:
            return None
        middle = near_it.mean(axis=0)
        normal = np.linalg.svd(near_it - middle, full_matrices=False)[2][2]
        normal = normal * np.sign(normal[1])
    return normal, middle


def _squares(level: Array) -> int:
    """How many squares points [M, 2], in sides of them, fall into."""
    return len(np.unique(np.floor(level).astype(np.int64), axis=0))
