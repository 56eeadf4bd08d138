"""Gaussians as a program has them, against those that were meant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from plyfile import PlyData
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from stages.gaussians import Gaussians
from tests.readers.judge import Figures, judge_points

Array = np.ndarray[Any, Any]
SH0 = 0.28209479177387814


@dataclass(frozen=True)
class Splats:
    """N Gaussians: where, covariances, opacities in [0, 1], colours as displayed, and harmonics above degree 0."""

    means: Array  # [N, 3]
    covariances: Array | None  # [N, 3, 3]
    opacities: Array  # [N]
    colors: Array  # [N, 3]
    harmonics: Array | None = None  # [N, K, 3]


def covariances(quats: Array, scales: Array) -> Array:
    """[N, 3, 3] of quaternions wxyz [N, 4] and standard deviations [N, 3]."""
    R = Rotation.from_quat(quats[:, [1, 2, 3, 0]]).as_matrix()
    return np.asarray((R * scales[:, None, :] ** 2) @ R.transpose(0, 2, 1))


def of_gaussians(gaussians: Gaussians) -> Splats:
    """Ours, in numpy."""
    return Splats(
        means=gaussians.means.numpy().astype(float),
        covariances=covariances(gaussians.quats.numpy().astype(float), gaussians.scales.numpy().astype(float)),
        opacities=gaussians.opacities.numpy().astype(float),
        colors=0.5 + SH0 * gaussians.sh[:, 0].numpy().astype(float),
        harmonics=gaussians.sh[:, 1:].numpy().astype(float),
    )


def of_ply(path: Path) -> Splats:
    """A PLY of INRIA's layout, read by plyfile alone."""
    data = PlyData.read(str(path))["vertex"].data

    def columns(*names: str) -> Array:
        return np.stack([data[name].astype(float) for name in names], axis=1)

    rest = sorted((name for name in data.dtype.names if name.startswith("f_rest_")), key=lambda name: int(name[7:]))
    harmonics = columns(*rest).reshape(len(data), 3, -1).transpose(0, 2, 1) if rest else None
    return Splats(
        means=columns("x", "y", "z"),
        covariances=covariances(
            columns("rot_0", "rot_1", "rot_2", "rot_3"), np.exp(columns("scale_0", "scale_1", "scale_2"))
        ),
        opacities=1.0 / (1.0 + np.exp(-data["opacity"].astype(float))),
        colors=0.5 + SH0 * columns("f_dc_0", "f_dc_1", "f_dc_2"),
        harmonics=harmonics,
    )


def y_up(splats: Splats) -> Splats:
    """Half a turn about x: of a program whose y axis points down. Harmonics are left alone: they are in axes of their
    own, and turn with them."""
    turn = np.diag([1.0, -1.0, -1.0])
    return Splats(
        means=splats.means @ turn,
        covariances=None if splats.covariances is None else turn @ splats.covariances @ turn,
        opacities=splats.opacities,
        colors=splats.colors,
        harmonics=None if splats.harmonics is None else splats.harmonics * signs(splats.harmonics.shape[1]),
    )


def signs(count: int) -> Array:
    """[K, 1]: which harmonics (y z x, xy yz zz xz xx-yy, ...) half a turn about x turns around."""
    signs = [-1, -1, 1, -1, 1, 1, -1, 1, -1, -1, -1, -1, 1, 1, 1]
    return np.array(signs[:count], float)[:, None]


def judge_splats(there: list[Splats], truth: list[Splats]) -> Figures:
    """Figures of T frames; Gaussians may come in any order, the same in all frames. All but ``up_deg`` are of the
    asset as it is after half a turn, where only that puts it upright."""
    first, meant = there[0], truth[0]
    assert len(first.means) == len(meant.means), f"{len(first.means)} Gaussians, not {len(meant.means)}"
    up_deg, order = 0.0, _matched(first.means, meant.means)
    if order is None:
        there = [y_up(frame) for frame in there]
        up_deg, order = 180.0, _matched(there[0].means, meant.means)
    assert order is not None, "no Gaussian of its own for each of ours"
    places = np.stack([frame.means[order] for frame in there]), np.stack([frame.means for frame in truth])
    figures = judge_points(*places)
    figures["up_deg"] = max(figures["up_deg"], up_deg)
    for frame, right in zip(there, truth, strict=True):
        for key, value in _off(frame, right, order).items():
            figures[key] = max(value, figures.get(key, 0.0))
    return figures


def _matched(there: Array, truth: Array) -> Array | None:
    """Of each point of ``truth`` [N, 3] the index of its own in ``there`` [N, 3]; None: some share one."""
    order = np.asarray(cKDTree(there).query(truth)[1])
    return order if len(set(order)) == len(order) else None


def _off(there: Splats, truth: Splats, order: Array) -> Figures:
    """Of one frame, means over Gaussians: colours and opacities in shares of 1; covariances (``shapes``) and harmonics
    as shares of what they are."""
    seen = np.clip(there.colors[order], 0.0, 1.0) - np.clip(truth.colors, 0.0, 1.0)
    found = {
        "colors": float(np.abs(seen).mean()),
        "opacities": float(np.abs(there.opacities[order] - truth.opacities).mean()),
    }
    if there.covariances is not None and truth.covariances is not None:
        off = np.linalg.norm(there.covariances[order] - truth.covariances, axis=(1, 2))
        found["shapes"] = float((off / np.linalg.norm(truth.covariances, axis=(1, 2))).mean())
    if there.harmonics is not None and truth.harmonics is not None and truth.harmonics.size:
        count = truth.harmonics.shape[1]
        off = there.harmonics[order, :count] - truth.harmonics
        found["harmonics"] = float(np.sqrt((off**2).mean() / (truth.harmonics**2).mean()))
    return found
