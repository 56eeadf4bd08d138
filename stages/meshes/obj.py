"""Wavefront .obj files: polygons by material, with texture coordinates and colours of vertices."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.meshes.mtl import MtlFiles
from stages.meshes.paint import Paint, linear_light

Array = np.ndarray[Any, Any]
FREE_FORM = ("curv", "curv2", "surf", "cstype")


@dataclass
class _Group:
    """The faces of one material."""

    corners: list[int] = field(default_factory=list)  # vertices, three a triangle
    places: list[int] = field(default_factory=list)  # texture coordinates likewise, -1 for none
    quads: list[int] = field(default_factory=list)  # vertices, four a quad
    quad_places: list[int] = field(default_factory=list)

    def triangles(self, vertices: Array) -> tuple[Array, Array]:
        """Vertices and texture coordinates of all triangles, [F, 3] each; quads are cut along their inner diagonal."""
        corners, places = (np.array(own, np.int64).reshape(-1, 3) for own in (self.corners, self.places))
        quads, there = (np.array(own, np.int64).reshape(-1, 4) for own in (self.quads, self.quad_places))
        for kept in (corners, quads):
            if kept.size and (kept.min() < 0 or kept.max() >= len(vertices)):
                raise ValueError("it has triangles whose vertices are not in the file")
        a, b, c, d = (vertices[quads[:, k]] for k in range(4))
        across = (np.cross(b - a, c - a) * np.cross(c - a, d - a)).sum(axis=1) >= 0.0
        order = np.where(across[:, None], np.array([[0, 1, 2, 0, 2, 3]]), np.array([[0, 1, 3, 1, 2, 3]]))
        both = (np.take_along_axis(own, order, axis=1).reshape(-1, 3) for own in (quads, there))
        return tuple(np.concatenate([own, more]) for own, more in zip((corners, places), both, strict=True))  # type: ignore[return-value]


def read_obj(path: Path) -> tuple[list[tuple[Array, Array, Paint]], list[str]]:
    """The mesh at ``path``: vertices [V, 3] in double, faces [F, 3] and the paint of every material; and what it names
    that cannot be used.

    Raises:
        ValueError: a line cannot be read; the message names it.
    """
    points: list[list[float]] = []
    tints: dict[int, list[float]] = {}
    uvs: list[list[float]] = []
    mtl, material = MtlFiles(path.parent), None
    groups: dict[str | None, _Group] = {}
    text = path.read_bytes().decode("utf-8-sig", errors="replace").replace("\\\r\n", " ").replace("\\\n", " ")
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0][0] == "#":
            continue
        key = words[0]
        try:
            if key == "v":
                values = [float(word) for word in words[1:]]
                points.append(values[:3])
                if len(values) >= 6:
                    tints[len(points) - 1] = values[3:6]
            elif key == "vt":
                uvs.append([float(word) for word in (*words[1:3], "0")[:2]])
            elif key == "f":
                _add_face(groups.setdefault(material, _Group()), words[1:], points, len(uvs))
            elif key == "usemtl":
                material = line.split(None, 1)[1].strip() if len(words) > 1 else None
            elif key == "mtllib" and len(words) > 1:
                mtl.read(line.split(None, 1)[1].strip())
            elif key in ("l", "p"):
                mtl.miss("points or lines, which are left away")
            elif key in FREE_FORM:
                mtl.miss("curves or free-form surfaces, which are left away")
        except (ValueError, IndexError) as error:
            raise ValueError(f"line {number} ({line.strip()[:60]}): {error}") from None
    if any(len(point) != 3 for point in points):
        raise ValueError("a vertex has fewer than three numbers")
    vertices = np.array(points, np.float64).reshape(-1, 3)
    places = np.array([*uvs, [0.0, 0.0]], np.float32)
    full = [(name, group) for name, group in groups.items() if group.corners or group.quads]
    return [_part(vertices, places, tints, group, name, mtl) for name, group in full], mtl.missing


def _part(
    vertices: Array, places: Array, tints: dict[int, list[float]], group: _Group, name: str | None, mtl: MtlFiles
) -> tuple[Array, Array, Paint]:
    """The vertices and faces of one material, and its paint."""
    corners, where = group.triangles(vertices)
    used, faces = np.unique(corners, return_inverse=True)
    uv = torch.from_numpy(places[where]) if (where >= 0).any() else None
    tint = None
    if tints:
        colors = np.ones((len(vertices), 3), np.float32)
        colors[list(tints)] = np.array(list(tints.values()), np.float32)
        if colors.max() > 1.0:  # some writers count to 255
            colors[list(tints)] /= 255.0
        linear = linear_light(torch.from_numpy(colors[corners]))
        tint = torch.cat([linear, torch.ones_like(linear[..., :1])], dim=-1)
    return vertices[used], faces.reshape(-1, 3), mtl.paint(name, uv, tint)


def _add_face(group: _Group, words: list[str], points: list[list[float]], num_uvs: int) -> None:
    """A polygon, cut into triangles. Negative numbers count back from the last vertex so far."""
    corners, places = [], []
    for word in words:
        parts = word.split("/")
        corner = int(parts[0])
        corners.append(corner - 1 if corner > 0 else len(points) + corner)
        place = int(parts[1]) if len(parts) > 1 and parts[1] else 0
        place = place - 1 if place > 0 else num_uvs + place if place < 0 else -1
        places.append(place if place < num_uvs else -1)
    if len(corners) == 4:
        group.quads += corners
        group.quad_places += places
        return
    if len(corners) > 4:
        polygon = np.array([points[corner][:3] for corner in corners], np.float64)
        order = triangulate(polygon)
    else:
        order = [(0, 1, 2)] if len(corners) == 3 else []
    for triangle in order:
        group.corners += [corners[k] for k in triangle]
        group.places += [places[k] for k in triangle]


def triangulate(polygon: Array) -> list[tuple[int, int, int]]:
    """Triangles of a flat polygon [P, 3], which may have inward corners: ears are cut off (Meisters 1975)."""
    count = len(polygon)
    fan = [(0, k, k + 1) for k in range(1, count - 1)]
    following = np.roll(polygon, -1, axis=0)
    normal = np.cross(polygon, following).sum(axis=0)  # Newell
    turns = np.cross(following - polygon, np.roll(following, -1, axis=0) - following) @ normal
    if (turns >= 0.0).all():
        return fan
    left, found = list(range(count)), []
    while len(left) > 3:
        for i in range(len(left)):
            a, b, c = (polygon[left[(i + k) % len(left)]] for k in (-1, 0, 1))
            others = [polygon[k] for k in left if k not in (left[i - 1], left[i], left[(i + 1) % len(left)])]
            if np.cross(b - a, c - b) @ normal > 0.0 and not any(_inside(p, a, b, c, normal) for p in others):
                found.append((left[i - 1], left[i], left[(i + 1) % len(left)]))
                del left[i]
                break
        else:
            return fan  # crosses itself
    return [*found, (left[0], left[1], left[2])]


def _inside(p: Array, a: Array, b: Array, c: Array, normal: Array) -> bool:
    return all(np.cross(w - v, p - v) @ normal >= 0.0 for v, w in ((a, b), (b, c), (c, a)))
