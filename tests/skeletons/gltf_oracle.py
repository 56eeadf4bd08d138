"""A second reading of a ``.glb``, to test the first: plain json and numpy, one vertex set, keys only, no interpolation.

It shares nothing with ``stages.zoo``: transforms are 4 x 4 products down the tree, rotations by the formula of the
glTF 2.0 specification, skinning as its section 3.7.3 writes it.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Oracle:
    """One file: ``skinned(name, key)`` gives its vertices at a key of a clip, ``skinned()`` in the nodes' own pose."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        length = struct.unpack_from("<I", data, 12)[0]
        self.json = json.loads(data[20 : 20 + length])
        self.blob = data[28 + length :]

    def values(self, accessor_id: int) -> Array:
        accessor = self.json["accessors"][accessor_id]
        view = self.json["bufferViews"][accessor["bufferView"]]
        kind = {5121: "u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}[accessor["componentType"]]
        width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}[accessor["type"]]
        step = view.get("byteStride", np.dtype(kind).itemsize * width)
        start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        rows = [np.frombuffer(self.blob, kind, width, start + i * step) for i in range(accessor["count"])]
        return np.stack(rows).astype(np.float64)

    def clip(self, name: str) -> dict[str, Any]:
        return next(clip for clip in self.json["animations"] if clip["name"] == name)

    def key_times(self, name: str) -> Array:
        """Times that every sampler of the clip has as a key: there no interpolation is needed."""
        times = [self.values(s["input"])[:, 0] for s in self.clip(name)["samplers"]]
        return np.array([t for t in times[0] if all(np.abs(other - t).min() < 1e-6 for other in times)])

    def node_matrices(self, name: str | None = None, seconds: float = 0.0) -> list[Array]:
        """World matrix of every node."""
        nodes = [dict(node) for node in self.json["nodes"]]
        if name is not None:
            clip = self.clip(name)
            for channel in clip["channels"]:
                sampler = clip["samplers"][channel["sampler"]]
                assert sampler.get("interpolation", "LINEAR") != "CUBICSPLINE"
                key = int(np.abs(self.values(sampler["input"])[:, 0] - seconds).argmin())
                nodes[channel["target"]["node"]][channel["target"]["path"]] = self.values(sampler["output"])[key]
        parents = {child: i for i, node in enumerate(nodes) for child in node.get("children", [])}

        def world(i: int) -> Array:
            local = _local(nodes[i])
            return world(parents[i]) @ local if i in parents else local

        return [world(i) for i in range(len(nodes))]

    def skinned(self, name: str | None = None, seconds: float = 0.0) -> Array:
        """All vertices of the file: skinned ones follow their joints (the first if a file gives no weights), those of
        other meshes their node."""
        world = self.node_matrices(name, seconds)
        found = []
        for i, node in enumerate(self.json["nodes"]):
            if "mesh" not in node:
                continue
            if "skin" not in node:
                for primitive in self.json["meshes"][node["mesh"]]["primitives"]:
                    position = self.values(primitive["attributes"]["POSITION"])
                    found.append(position @ world[i][:3, :3].T + world[i][:3, 3])
                continue
            skin = self.json["skins"][node["skin"]]
            inverse_bind = self.values(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
            joints = np.stack([world[j] @ inverse_bind[k] for k, j in enumerate(skin["joints"])])
            for primitive in self.json["meshes"][node["mesh"]]["primitives"]:
                attributes = primitive["attributes"]
                position = self.values(attributes["POSITION"])
                who = self.values(attributes["JOINTS_0"]).astype(int)
                share = self.values(attributes["WEIGHTS_0"])
                total = share.sum(axis=1, keepdims=True)
                who = np.where(total > 0, who, 0)
                share = np.where(total > 0, share / np.where(total > 0, total, 1.0), np.eye(1, share.shape[1]))
                homogeneous = np.concatenate([position, np.ones((len(position), 1))], axis=1)
                moved = np.einsum("vk,vkij,vj->vi", share, joints[who], homogeneous)
                found.append(moved[:, :3])
        return np.concatenate(found)


def _local(node: dict[str, Any]) -> Array:
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    x, y, z, w = np.array(node.get("rotation", [0, 0, 0, 1]), dtype=np.float64)
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array(node.get("scale", [1, 1, 1]), dtype=np.float64)
    matrix[:3, 3] = node.get("translation", [0, 0, 0])
    return matrix
