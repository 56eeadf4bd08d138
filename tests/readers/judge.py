"""What a program says of a file against what has to be there: figures, and the bars that they have to keep."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from tests.readers.creature import linear
from tests.readers.outputs import MOTION, MeshTruth

Array = np.ndarray[Any, Any]
Figures = dict[str, float]

LEAST_DB = 38.0
BARS = {
    "up_deg": 0.5, "facing_deg": 0.5, "size": 0.01, "colors": 0.01, "motion": 0.01,
    "issues": 0.0, "opacities": 0.005, "shapes": 0.05,
}  # fmt: skip
"""``up_deg``, ``facing_deg``: how far up, and front about it, are from where they were; 180 if mirrored. ``size``: of
the sides of the box, a share. ``colors``: of meshes the worst mean of a part, in linear light, of Gaussians the mean,
as displayed; of 1, as ``opacities``. ``motion``: the farthest that a point is off in any frame, as a share of the
farthest that any goes. ``shapes``: of covariances, the mean as a share. ``issues``: of a validator. Pictures next to
ours have at least ``LEAST_DB``."""

Y_UP = {"y": np.eye(3), "z": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]), "-y": np.diag([1.0, -1, -1])}
"""From the axes of a program whose up is the key to those of y up."""


def judge_meshes(said: dict[str, Any], truth: MeshTruth) -> Figures:
    """The figures of a program that gives meshes with names, vertices and looks."""
    assert said.get("clips") is None or MOTION in said["clips"], said["clips"]
    vertices, colors = {}, []
    for name in truth.vertices:
        (mesh,) = [mesh for mesh in said["meshes"] if mesh["name"] == name]
        vertices[name] = np.array(mesh["vertices"]).reshape(len(truth.vertices[name]), -1, 3) @ Y_UP[said["up"]].T
        if "look" in mesh:
            colors.append(np.abs(color_of(mesh["look"]) - truth.colors[name]).max())
    there = np.concatenate([vertices[name] for name in truth.vertices], axis=1)
    return judge_points(there, truth.flat) | ({"colors": float(max(colors))} if colors else {})


def judge_points(there: Array, truth: Array) -> Figures:
    """Upright, size and motion of points [T, P, 3], which move since the first frame."""
    assert there.shape == truth.shape, f"{there.shape}, not {truth.shape}"
    gone = np.linalg.norm(truth - truth[:1], axis=-1).max()
    figures = turned_deg(there[0], truth[0]) | {"size": off_size(there[0], truth[0])}
    return figures | ({"motion": float(np.linalg.norm(there - truth, axis=-1).max() / gone)} if len(truth) > 1 else {})


def turned_deg(there: Array, truth: Array) -> Figures:
    """How the rotation that takes ``truth`` [P, 3] best to ``there`` turns up, and front about that; 180 where only a
    mirror does."""
    products = (there - there.mean(axis=0)).T @ (truth - truth.mean(axis=0))
    left, sizes, right = np.linalg.svd(products)
    if np.linalg.det(left @ right) < 0 and sizes[2] > 1e-6 * sizes[0]:
        return {"up_deg": 180.0, "facing_deg": 180.0}
    R = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    up = np.arctan2(np.hypot(R[0, 1], R[2, 1]), R[1, 1])
    return {"up_deg": float(np.rad2deg(up)), "facing_deg": float(abs(np.rad2deg(np.arctan2(R[0, 2], R[2, 2]))))}


def off_size(there: Array, truth: Array) -> float:
    """How far the sides of the boxes of two clouds [P, 3] differ, as a share."""
    return float(np.abs(np.ptp(there, axis=0) / np.ptp(truth, axis=0) - 1.0).max())


def color_of(look: dict[str, Any]) -> Array:
    """The mean base colour [3], linear, of what a program has as factor, vertex colours, and picture with places."""
    shade = np.array(look["factor"][:3], float)
    if look["vertexColor"] is not None:
        shade = shade * look["vertexColor"]
    if look["picture"] is not None:
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(look["picture"]["base64"]))).convert("RGB")) / 255.0
        pixels = linear(pixels) if look["picture"]["isDisplay"] else pixels
        uv = np.array(look["uv"]).reshape(-1, 2)  # v grows downwards
        height, width = pixels.shape[:2]
        rows, columns = (uv[:, 1] * height).astype(int) % height, (uv[:, 0] * width).astype(int) % width
        shade = shade * pixels[rows, columns].mean(axis=0)
    return shade
