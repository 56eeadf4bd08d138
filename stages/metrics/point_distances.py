"""Distances between two moving sets of points, as ActionMesh's ActionBench defines them: CD-3D, CD-4D and CD-M.

Source: Sabathier, Novotny, Mitra and Monnier, *ActionMesh* (2026, arXiv 2601.16148) and the evaluation code of
ActionBench (``facebookresearch/actionmesh``, ``actionbench/chamfer.py`` and ``benchmark.py``), for predicted points
``P`` and true ones ``Q`` of T frames:

- Chamfer distance of a frame: mean distance (not squared) from each of ``Q`` to the nearest of ``P``, plus the mean
  from each of ``P`` to the nearest of ``Q``.
- CD-3D: every frame of ``P`` is first aligned to that of ``Q`` by itself; mean of the frames' Chamfer distances. How
  well each shape is met, wherever it stands.
- CD-4D: all frames are aligned by the one alignment that frame 0 asks for; the same mean.
- CD-M: so aligned, each of ``Q`` is paired with what is nearest to it in frame 0, and the pair is kept; mean over
  points and frames of the pairs' distances; plus the same from ``P``. How well points go where they should.

An alignment is a rotation, a shift, and a scale for each axis of ``P``. What differs here [ours]:

- ActionBench fits it by gradient descent from 24 rotations, for a prediction knows nothing of the truth's frame. Here
  motion and truth share a frame: it starts from where the points are, by closest points in closed form (Besl and McKay
  1992), and is taken only where it is nearer than none.
- Points are the centres of the body's Gaussians, not samples of a mesh.
- Lengths are such that the box of all that ``Q`` passes through has a longest side of 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from torch import Tensor

ALIGNED_POINTS, MEASURED_POINTS = 1_000, 10_000
"""Of a set at most: to find an alignment with, and from which distances are taken. The latter as ActionBench."""

ITERATIONS, ALTERNATIONS = 15, 3
"""Of closest points; and in each, of scales and rotation, which have no common closed form."""


@dataclass(frozen=True)
class PointDistances:
    """Each is 0 for the truth itself."""

    cd_3d: float
    cd_4d: float
    cd_m: float


@dataclass(frozen=True)
class Alignment:
    """``points -> (scales * points) @ R + shift``."""

    R: np.ndarray  # [3, 3]
    scales: np.ndarray  # [3]
    shift: np.ndarray  # [3]

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """``points`` [..., 3], aligned."""
        return (self.scales * points) @ self.R + self.shift


NOTHING = Alignment(np.eye(3), np.ones(3), np.zeros(3))


def point_distances(points: Tensor, truth: Tensor) -> PointDistances:
    """CD-3D, CD-4D and CD-M of ``points`` [T, P, 3] and ``truth`` [T, Q, 3], any one unit (module docstring)."""
    assert points.shape[0] == truth.shape[0] and points.shape[2] == truth.shape[2] == 3
    low, high = truth.amin(dim=(0, 1)), truth.amax(dim=(0, 1))
    half = max(0.5 * float((high - low).max()), 1e-12)
    moving, true = (((each - 0.5 * (low + high)) / half).double().cpu().numpy() for each in (points, truth))
    few = _some(moving, ALIGNED_POINTS, 0), _some(true, ALIGNED_POINTS, 1)
    first = align(few[0][0], few[1][0], NOTHING)
    apart = [align(here, there, NOTHING, first) for here, there in zip(*few, strict=True)]
    return PointDistances(
        cd_3d=_mean([chamfer(one(here), there) for one, here, there in zip(apart, moving, true, strict=True)]),
        cd_4d=_mean([chamfer(here, there) for here, there in zip(first(moving), true, strict=True)]),
        cd_m=motion_chamfer(first(moving), true),
    )


def chamfer(points: np.ndarray, truth: np.ndarray) -> float:
    """Chamfer distance of ``points`` [P, 3] and ``truth`` [Q, 3]: both directions, summed."""
    there, _ = cKDTree(points).query(_some(truth[None], MEASURED_POINTS, 1)[0])
    here, _ = cKDTree(truth).query(_some(points[None], MEASURED_POINTS, 0)[0])
    return float(there.mean() + here.mean())


def motion_chamfer(points: np.ndarray, truth: np.ndarray) -> float:
    """How far points [T, P, 3] and [T, Q, 3] that are paired in frame 0 are from each other, both directions summed."""
    _, of_truth = cKDTree(points[0]).query(truth[0])
    _, of_points = cKDTree(truth[0]).query(points[0])
    there = np.linalg.norm(points[:, of_truth] - truth, axis=-1).mean()
    here = np.linalg.norm(truth[:, of_points] - points, axis=-1).mean()
    return float(there + here)


def align(points: np.ndarray, truth: np.ndarray, *starts: Alignment) -> Alignment:
    """The alignment of ``points`` [P, 3] to ``truth`` [Q, 3] with the least Chamfer distance that is found from
    ``starts``, which are tried too."""
    found, least = starts[0], np.inf
    tree = cKDTree(truth)
    for start in starts:
        current = start
        for iteration in range(ITERATIONS + 1):
            moved = current(points)
            ahead, nearest = tree.query(moved)
            back, sources = cKDTree(moved).query(truth)
            away = float(ahead.mean() + back.mean())
            if away >= least * (1.0 - 1e-4) and iteration:
                break
            if away < least:
                found, least = current, away
            pairs = np.concatenate([points, points[sources]]), np.concatenate([truth[nearest], truth])
            current = _fitted(*pairs, current)
    return found


def _fitted(points: np.ndarray, targets: np.ndarray, start: Alignment) -> Alignment:
    """The alignment that takes ``points`` [M, 3] nearest to their ``targets`` [M, 3] in the mean square."""
    centre, target = points.mean(axis=0), targets.mean(axis=0)
    here, there = points - centre, targets - target
    scales, spread = start.scales, (here**2).sum(axis=0)
    for _ in range(ALTERNATIONS):
        u, _, v = np.linalg.svd((scales * here).T @ there)  # Kabsch 1976
        R = u @ np.diag([1.0, 1.0, np.linalg.det(u @ v)]) @ v
        along = (here * (there @ R.T)).sum(axis=0)
        scales = np.where(spread > 1e-12, along / np.maximum(spread, 1e-12), 1.0)
    return Alignment(R, scales, target - (scales * centre) @ R)


def _some(points: np.ndarray, count: int, seed: int) -> np.ndarray:
    """At most ``count`` of ``points`` [T, P, 3], the same in every frame."""
    if points.shape[1] <= count:
        return points
    return points[:, np.random.default_rng(seed).permutation(points.shape[1])[:count]]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
