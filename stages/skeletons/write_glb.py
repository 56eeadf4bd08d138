"""A compact body as a ``.glb``: one mesh, one skin, one buffer (glTF 2.0 with KHR_mesh_quantization).

The skin takes the whole numbers of the positions back to lengths: its inverse bind matrices begin with that step, so
that the file needs no transform of its own.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from stages.meshes.gltf import Array
from stages.skeletons.compact import STEPS, CompactBody

FLOAT, SHORT, BYTE, INDEX, LONG_INDEX = 5126, 5122, 5121, 5123, 5125
ROW = np.dtype([("position", "<i2", 4), ("joints", "u1", 4), ("weights", "u1", 4), ("color", "u1", 4)])
OFFSETS = {"position": 0, "joints": 8, "weights": 12, "color": 16}
"""A vertex; the fourth number of its position fills the row up, which has to be a multiple of 4 bytes (3.6.2.4)."""


def body_bytes(body: CompactBody, credit: str) -> bytes:
    """The file; ``credit`` names author and licence."""
    buffer = _Buffer()
    mesh = _mesh(body, buffer)
    matrices = _matrices(body, buffer)
    animations = [_animation(clip, buffer) for clip in body.clips]
    skinned = len(body.names)
    content = {
        "asset": {"version": "2.0", "generator": "animus3d", "copyright": credit},
        "extensionsUsed": ["KHR_mesh_quantization"],
        "extensionsRequired": ["KHR_mesh_quantization"],
        "scene": 0,
        "scenes": [{"nodes": [*(i for i, parent in enumerate(body.parents) if parent < 0), skinned]}],
        "nodes": [*_nodes(body), {"mesh": 0, "skin": 0}],
        "meshes": [mesh],
        "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0}, "doubleSided": True}],
        "skins": [{"joints": list(body.joints), "inverseBindMatrices": matrices}],
        "animations": animations,
        "accessors": buffer.accessors,
        "bufferViews": [
            *buffer.views, {"buffer": 0, "byteOffset": buffer.start, "byteLength": len(buffer.plain)},
        ],
        "buffers": [{"byteLength": buffer.start + len(buffer.plain)}],
    }  # fmt: skip
    if not animations:
        del content["animations"]
    return glb_bytes(content, buffer.fixed + bytes(buffer.plain))


class _Buffer:
    """The bytes of the file and the accessors that say what they are. Vertices, faces and matrices come first, in views
    of their own; the numbers of clips share the last, and equal ones are kept once."""

    def __init__(self) -> None:
        self.fixed = b""
        self.views: list[dict[str, int]] = []
        self.plain = bytearray()
        self.accessors: list[dict[str, Any]] = []
        self._known: dict[tuple[bytes, str, str], int] = {}

    @property
    def start(self) -> int:
        """Where the view of the clips begins."""
        return len(self.fixed)

    def add(self, values: Array, kind: str, *, normalized: bool = False, bounds: bool = False) -> int:
        """The accessor of ``values`` [count, width], which is made when it is new."""
        values = np.ascontiguousarray(values)
        known = (values.tobytes(), kind, str(values.dtype))
        if known not in self._known:
            self.plain += b"\0" * (-len(self.plain) % 4)
            accessor: dict[str, Any] = {"bufferView": len(self.views), "componentType": _component(values)}
            if self.plain:
                accessor["byteOffset"] = len(self.plain)
            accessor |= {"count": len(values), "type": kind}
            if normalized:
                accessor["normalized"] = True
            if bounds:
                accessor |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
            self._known[known] = len(self.accessors)
            self.accessors.append(accessor)
            self.plain += known[0]
        return self._known[known]


def _component(values: Array) -> int:
    return {"float32": FLOAT, "int16": SHORT}[str(values.dtype)]


def _mesh(body: CompactBody, buffer: _Buffer) -> dict[str, Any]:
    """The only mesh. Its vertices are in one view, row by row."""
    rows = np.zeros(len(body.positions), ROW)
    rows["position"][:, :3] = body.positions
    rows["joints"], rows["weights"], rows["color"] = body.influences, body.weights, body.colors
    faces = body.faces.reshape(-1).astype("<u2" if len(rows) < 65535 else "<u4")
    buffer.fixed = rows.tobytes() + faces.tobytes() + b"\0" * (-faces.nbytes % 4)
    buffer.views = [
        {"buffer": 0, "byteLength": rows.nbytes, "byteStride": ROW.itemsize, "target": 34962},
        {"buffer": 0, "byteOffset": rows.nbytes, "byteLength": faces.nbytes, "target": 34963},
    ]
    count, bounds = len(rows), body.positions
    attributes = {}
    for name, field, accessor in (
        ("POSITION", "position", {"componentType": SHORT, "type": "VEC3", "normalized": True}
         | {"min": bounds.min(axis=0).tolist(), "max": bounds.max(axis=0).tolist()}),
        ("JOINTS_0", "joints", {"componentType": BYTE, "type": "VEC4"}),
        ("WEIGHTS_0", "weights", {"componentType": BYTE, "type": "VEC4", "normalized": True}),
        ("COLOR_0", "color", {"componentType": BYTE, "type": "VEC4", "normalized": True}),
    ):  # fmt: skip
        attributes[name] = len(buffer.accessors)
        buffer.accessors.append({"bufferView": 0, "byteOffset": OFFSETS[field], "count": count} | accessor)
    indices = len(buffer.accessors)
    kind = INDEX if faces.dtype.itemsize == 2 else LONG_INDEX
    buffer.accessors.append({"bufferView": 1, "componentType": kind, "count": len(faces), "type": "SCALAR"})
    return {"primitives": [{"attributes": attributes, "indices": indices, "material": 0}]}


def _matrices(body: CompactBody, buffer: _Buffer) -> int:
    """The accessor of the inverse bind matrices, column by column, which is made."""
    matrices = np.ascontiguousarray(body.inverse_bind.transpose(0, 2, 1))
    buffer.views.append({"buffer": 0, "byteOffset": buffer.start, "byteLength": matrices.nbytes})
    buffer.fixed += matrices.tobytes()
    view = len(buffer.views) - 1
    buffer.accessors.append({"bufferView": view, "componentType": FLOAT, "count": len(matrices), "type": "MAT4"})
    return len(buffer.accessors) - 1


def _nodes(body: CompactBody) -> list[dict[str, Any]]:
    """The tree; a transform that does nothing is not written."""
    nodes: list[dict[str, Any]] = []
    for i, name in enumerate(body.names):
        node: dict[str, Any] = {"name": name}
        children = [child for child, parent in enumerate(body.parents) if parent == i]
        if children:
            node["children"] = children
        w, x, y, z = body.bind.rotations[0, i].tolist()
        for key, values, idle in (
            ("translation", body.bind.translations[0, i].tolist(), [0.0, 0.0, 0.0]),
            ("rotation", [x, y, z, w], [0.0, 0.0, 0.0, 1.0]),
            ("scale", body.bind.scales[0, i].tolist(), [1.0, 1.0, 1.0]),
        ):
            if values != idle:
                node[key] = [float(f"{value:.7g}") for value in values]
        nodes.append(node)
    return nodes


def _animation(clip: Any, buffer: _Buffer) -> dict[str, Any]:
    """A clip: every moving track has the same times, one that holds still a single key."""
    times = buffer.add(clip.times[:, None], "SCALAR", bounds=True)
    once = None
    samplers: list[dict[str, int]] = []
    channels = []
    for track in clip.tracks:
        if track.path == "rotation":
            whole = np.round(track.values / np.linalg.norm(track.values, axis=1, keepdims=True) * STEPS)
            output = buffer.add(whole.astype("<i2"), "VEC4", normalized=True)
        else:
            output = buffer.add(track.values.astype("<f4"), "VEC3")
        if len(track.values) == 1 and once is None:
            once = buffer.add(np.zeros((1, 1), "<f4"), "SCALAR", bounds=True)
        sampler = {"input": times if len(track.values) > 1 or once is None else once, "output": output}
        if sampler not in samplers:
            samplers.append(sampler)
        channels.append({"sampler": samplers.index(sampler), "target": {"node": track.node, "path": track.path}})
    return {"name": clip.name, "samplers": samplers, "channels": channels}


def glb_bytes(content: dict[str, Any], binary: bytes) -> bytes:
    """The container (glTF 2.0, 4.4)."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(binary))
    return head + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
