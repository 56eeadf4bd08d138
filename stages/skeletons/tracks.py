"""The tracks of a clip: one property of one node over time (glTF 2.0, 3.11), and morph targets that they move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.errors import BadInput
from stages.meshes.gltf import GltfFile
from stages.meshes.scene import Primitive

MOVED = ("translation", "rotation", "scale", "weights")


@dataclass(frozen=True)
class Track:
    """One animated property of one node."""

    node: int
    path: str  # translation, rotation, scale, or weights of morph targets
    times: np.ndarray[Any, Any]  # [K] seconds
    values: np.ndarray[Any, Any]  # [K, D]; for CUBICSPLINE [3 K, D]
    interpolation: str

    def at(self, seconds: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Values [T, D] at ``seconds`` [T], held before the first and after the last key."""
        upper = np.clip(np.searchsorted(self.times, seconds, side="right"), 1, len(self.times) - 1)
        if len(self.times) == 1:
            return np.repeat(
                self.values[-1:] if self.interpolation != "CUBICSPLINE" else self.values[1:2], len(seconds), 0
            )
        lower = upper - 1
        span = self.times[upper] - self.times[lower]
        u = np.clip((seconds - self.times[lower]) / np.maximum(span, 1e-9), 0.0, 1.0)[:, None]
        if self.interpolation == "STEP":
            return np.where(u >= 1.0, self.values[upper], self.values[lower])
        if self.interpolation == "CUBICSPLINE":
            keys = self.values.reshape(len(self.times), 3, -1)  # in-tangent, value, out-tangent
            p0, m0 = keys[lower, 1], keys[lower, 2] * span[:, None]
            p1, m1 = keys[upper, 1], keys[upper, 0] * span[:, None]
            u2, u3 = u * u, u * u * u
            value = (2 * u3 - 3 * u2 + 1) * p0 + (u3 - 2 * u2 + u) * m0 + (3 * u2 - 2 * u3) * p1 + (u3 - u2) * m1
        else:
            a, b = self.values[lower], self.values[upper]
            if self.path == "rotation":
                b = np.where((a * b).sum(-1, keepdims=True) < 0, -b, b)
            value = (1 - u) * a + u * b
        if self.path == "rotation":
            value = value / np.linalg.norm(value, axis=-1, keepdims=True)
        return value


@dataclass(frozen=True)
class Morph:
    """The morph targets of a node's n-th primitive."""

    node: int  # position among the J nodes
    vertices: slice  # which of the file's vertices are the primitive's
    targets: Tensor  # [K, V, 3] how far each moves them, where they are placed
    weights: Tensor  # [K] by default, as in the vertices of the file


def read_morph(file: GltfFile, part: Primitive, node: int, vertices: slice, linear: Any) -> Morph | None:
    """The morph targets of a primitive; None where it has none. ``linear`` [3, 3] brings moves to where the file's
    vertices are placed."""
    if not part.source.targets:
        return None
    moves = []
    for target in part.source.targets:
        accessor = (target if isinstance(target, dict) else vars(target)).get("POSITION")
        values = np.zeros_like(part.vertices) if accessor is None else file.accessor(accessor).astype(np.float32)
        moves.append(values @ np.asarray(linear, np.float32).T)
    own = file.gltf.nodes[part.node]
    given = list(own.weights or file.gltf.meshes[own.mesh].weights or [])
    weights = torch.tensor((given + [0.0] * len(moves))[: len(moves)], dtype=torch.float32)
    return Morph(node, vertices, torch.from_numpy(np.stack(moves)), weights)


def read_tracks(file: GltfFile, name: str, clip: Any, index: dict[int, int]) -> list[Track]:
    """The tracks of the clip ``name`` that move nodes; ``index`` is a node's position by its id. A channel without a
    node is ignored (3.11). Raises ``BadInput``: a channel names a node that is not there."""
    for channel in clip.channels:
        if channel.target.node is not None and channel.target.node not in index:
            raise BadInput(
                f"{file.path}: the clip {name} moves node {channel.target.node}, and the file has {len(index)} nodes.",
                "Export it again, or without that clip.",
            )
    return [
        Track(
            index[channel.target.node],
            channel.target.path,
            file.accessor(clip.samplers[channel.sampler].input).reshape(-1).astype(np.float64),
            _values(file, clip.samplers[channel.sampler], channel.target.path),
            clip.samplers[channel.sampler].interpolation or "LINEAR",
        )
        for channel in clip.channels
        if channel.target.node is not None and channel.target.path in MOVED
    ]


def _values(file: GltfFile, sampler: Any, path: str) -> np.ndarray[Any, Any]:
    """The values of a track, one row a key (three for CUBICSPLINE): weights stand one behind the other in the file."""
    values = file.accessor(sampler.output).astype(np.float64)
    if path != "weights":
        return values
    keys = file.gltf.accessors[sampler.input].count * (3 if sampler.interpolation == "CUBICSPLINE" else 1)
    if not keys or values.size % keys:
        raise ValueError("a clip has not as many weights as morph targets")
    return values.reshape(keys, -1)
