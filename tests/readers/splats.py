"""Gaussians as a program has them, against those that were meant."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
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

    def select(self, which: Array) -> Splats:
        """Some of them."""
        shapes, harmonics = self.covariances, self.harmonics
        return Splats(
            means=self.means[which],
            covariances=None if shapes is None else shapes[which],
            opacities=self.opacities[which],
            colors=self.colors[which],
            harmonics=None if harmonics is None else harmonics[which],
        )


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
    return of_columns({name: data[name] for name in data.dtype.names})


def of_columns(data: dict[str, Array]) -> Splats:
    """Of the columns of such a file."""

    def columns(*names: str) -> Array:
        return np.stack([data[name].astype(float) for name in names], axis=1)

    rest = sorted((name for name in data if name.startswith("f_rest_")), key=lambda name: int(name[7:]))
    harmonics = columns(*rest).reshape(len(data["x"]), 3, -1).transpose(0, 2, 1) if rest else None
    return Splats(
        means=columns("x", "y", "z"),
        covariances=covariances(
            columns("rot_0", "rot_1", "rot_2", "rot_3"), np.exp(columns("scale_0", "scale_1", "scale_2"))
        ),
        opacities=1.0 / (1.0 + np.exp(-data["opacity"].astype(float))),
        colors=0.5 + SH0 * columns("f_dc_0", "f_dc_1", "f_dc_2"),
        harmonics=harmonics,
    )


def of_nodes(said: dict[str, Any], index: int) -> Splats:
    """What three.js or Babylon.js has of all nodes that are shown at the moment ``index``."""
    found = []
    for node in said["splats"]:
        world = np.array(node["worlds"][index]).reshape(4, 4)
        L = world[:3, :3]
        if abs(np.linalg.det(L)) < 1e-9:
            continue
        means, shapes, colors = _of_rows(node) if "rows" in node else _of_arrays(node)
        found.append((means @ L.T + world[:3, 3], L @ shapes @ L.T, colors / 255.0))
    means, shapes, colors = (np.concatenate(column) for column in zip(*found, strict=True))
    return Splats(means=means, covariances=shapes, opacities=colors[:, 3], colors=colors[:, :3])


def _of_rows(node: dict[str, Any]) -> tuple[Array, Array, Array]:
    """Of 32 bytes a Gaussian, as in a ``.splat``."""
    fields = [("at", "<f4", 3), ("scale", "<f4", 3), ("color", "u1", 4), ("turn", "u1", 4)]
    rows = np.frombuffer(base64.b64decode(node["rows"]), dtype=fields)
    assert not node["flipY"]
    shapes = covariances(rows["turn"].astype(float) - 127.5, rows["scale"].astype(float))
    return rows["at"].astype(float), shapes, rows["color"].astype(float)


def _of_arrays(node: dict[str, Any]) -> tuple[Array, Array, Array]:
    def array(name: str, kind: str, width: int) -> Array:
        return np.frombuffer(base64.b64decode(node[name]), kind).reshape(-1, width).astype(float)

    upper = array("covariances", "<f4", 6)
    shapes = upper[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
    return array("means", "<f4", 3), shapes, array("colors", "u1", 4)


def half_turned(splats: Splats, axis: str) -> Splats:
    """Half a turn about ``axis``; harmonics turn along."""
    flips = np.array([1.0 if name == axis else -1.0 for name in "xyz"])
    turn = np.diag(flips)
    harmonics = splats.harmonics
    return replace(
        splats,
        means=splats.means @ turn,
        covariances=None if splats.covariances is None else turn @ splats.covariances @ turn,
        harmonics=None if harmonics is None else harmonics * signs(flips)[: harmonics.shape[1]],
    )


def signs(flips: Array) -> Array:
    """[15, 1]: which harmonics above degree 0 change their sign when the axes do as ``flips`` [3] says. Their
    polynomials: y z x, xy yz zz xz xx-yy, y(3xx-yy) xyz y(..) z(..) x(..) z(xx-yy) x(xx-3yy)."""
    x, y, z = flips
    return np.array([y, z, x, x * y, y * z, 1, x * z, 1, y, x * y * z, y, z, x, z, x])[:, None]


def judge_splats(there: list[Splats], truth: list[Splats], which: Array | None = None) -> Figures:
    """Figures of T frames; Gaussians may come in any order, the same in all frames. All but where up
    and front are is told of the asset after half a turn, where only that puts it as it was. ``which`` [N]
    limits it to some Gaussians of ``truth``."""
    assert len(there[0].means) == len(truth[0].means), f"{len(there[0].means)} Gaussians, not {len(truth[0].means)}"
    axis, order = "", _matched(there[0].means, truth[0].means)
    for other in "xyz":
        if order is None:
            axis, order = other, _matched(half_turned(there[0], other).means, truth[0].means)
    assert order is not None, "no Gaussian of its own for each of ours"
    there = [half_turned(frame, axis) if axis else frame for frame in there]
    if which is not None:
        order, truth = order[which], [frame.select(which) for frame in truth]
    figures = judge_points(
        np.stack([frame.means[order] for frame in there]), np.stack([frame.means for frame in truth])
    )
    if axis:
        figures |= {"up_deg": 0.0 if axis == "y" else 180.0, "facing_deg": 180.0 if axis == "y" else 0.0}
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
