"""A ``.glb`` to which things are added, and of which nothing else changes: its JSON as it is, and its bytes."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.exporting.joint_tracks import PATHS, Nodes, NodeTrack, SkinnedClip, with_still
from stages.meshes.gltf import Array, open_gltf, understanding
from stages.meshes.plain_gltf import load_uri
from stages.skeletons.write_glb import glb_bytes

COMPONENTS = {"uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}
VERTICES, INDICES = 34962, 34963
"""What a buffer view is for (glTF 2.0, 5.11.5)."""


@dataclass(frozen=True)
class GlbFile:
    """The parsed JSON of a file, and its one buffer."""

    content: dict[str, Any]
    blob: bytearray

    def add(self, values: Array, kind: str, *, target: int | None = None, bounds: bool = False) -> int:
        """The accessor, which is made, of ``values`` [count] or [count, width]. ``kind`` is "VEC3" or the like."""
        self.blob.extend(b"\0" * (-len(self.blob) % 4))
        view = {"buffer": 0, "byteOffset": len(self.blob), "byteLength": values.nbytes}
        if target is not None:
            view["target"] = target
        accessor: dict[str, Any] = {"bufferView": len(self.content.setdefault("bufferViews", []))}
        accessor |= {"componentType": COMPONENTS[str(values.dtype)], "count": len(values), "type": kind}
        if bounds:
            accessor["min"] = np.atleast_1d(values.min(axis=0)).tolist()
            accessor["max"] = np.atleast_1d(values.max(axis=0)).tolist()
        little = values.astype(values.dtype.newbyteorder("<"))
        self.blob.extend(np.ascontiguousarray(little).tobytes())
        self.content["bufferViews"].append(view)
        self.content.setdefault("accessors", []).append(accessor)
        return len(self.content["accessors"]) - 1

    @property
    def moved(self) -> set[tuple[int, str]]:
        """The ids of the nodes that animations move, each with what of it is moved."""
        targets = [channel["target"] for clip in self.content.get("animations", []) for channel in clip["channels"]]
        return {(target["node"], target["path"]) for target in targets if "node" in target}

    def add_animation(self, name: str, times: Array, tracks: Sequence[NodeTrack], node_ids: Sequence[int]) -> None:
        """A clip with linear steps between its keys. ``node_ids`` are the ids in the file of the tracks' nodes. A name
        that the file has already gets a number."""
        animations = self.content.setdefault("animations", [])
        taken, number, free = {clip.get("name") for clip in animations}, 2, name
        while free in taken:
            free, number = f"{name} {number}", number + 1
        inputs: dict[int, int] = {}  # by the number of keys
        samplers: list[dict[str, Any]] = []
        channels: list[dict[str, Any]] = []
        for track in tracks:
            values = track.values.numpy()
            count, rotation = len(values), track.path == "rotation"
            if count not in inputs:
                inputs[count] = self.add(times[:count], "SCALAR", bounds=True)
            output = self.add(values[:, [1, 2, 3, 0]] if rotation else values, "VEC4" if rotation else "VEC3")
            channels.append(
                {"sampler": len(samplers), "target": {"node": node_ids[track.node], "path": track.path}},
            )
            samplers.append({"input": inputs[count], "output": output, "interpolation": "LINEAR"})
        animations.append({"name": free, "samplers": samplers, "channels": channels})

    def add_credit(self, credit: str) -> None:
        """Add ``credit`` to what the file says of its authors."""
        about = self.content["asset"]
        if credit:
            about["copyright"] = ", ".join(text for text in (about.get("copyright", ""), credit) if text)

    def to_bytes(self) -> bytes:
        """The whole file."""
        self.content["buffers"] = [{**self.content.get("buffers", [{}])[0], "byteLength": len(self.blob)}]
        return glb_bytes(self.content, bytes(self.blob))


def add_animations(
    file: GlbFile,
    nodes: Nodes,
    clips: Sequence[SkinnedClip],
    moving: Sequence[Sequence[NodeTrack]],
    node_ids: Sequence[int],
) -> None:
    """Add ``clips``, each with its tracks in ``moving``; and what other animations of the file move, and it does not,
    with one key."""
    places = {node_id: node for node, node_id in enumerate(node_ids)}
    moved = {(places[node_id], path) for node_id, path in file.moved if path in PATHS}
    moved |= {(track.node, track.path) for tracks in moving for track in tracks}
    for clip, tracks in zip(clips, moving, strict=True):
        file.add_animation(clip.name, clip.times, with_still(nodes, tracks, moved), node_ids)


def read_glb_file(path: Path) -> GlbFile:
    """The ``.glb`` or ``.gltf`` at ``path``, which ``open_gltf`` can read; what lies in other files is taken in."""
    data = open_gltf(path).data
    with understanding(path):
        return parse_glb_file(data, path.parent)


def parse_glb_file(data: bytes, folder: Path) -> GlbFile:
    """The content ``data`` of a ``.glb`` or ``.gltf`` that lies in ``folder``, or would."""
    if data[:4] != b"glTF":
        content, binary = json.loads(data.decode("utf-8-sig")), b""
    else:
        length = int.from_bytes(data[12:16], "little")
        content, binary = json.loads(data[20 : 20 + length].decode("utf-8-sig")), data[28 + length :]
    file = GlbFile(content, bytearray())
    _join_buffers(file, binary, folder)
    _embed_pictures(file, folder)
    return file


def _join_buffers(file: GlbFile, binary: bytes, folder: Path) -> None:
    """All buffers one behind the other. ``binary`` is the first where that has no URI."""
    starts, buffers = [], file.content.get("buffers", [])
    for buffer in buffers:
        file.blob.extend(b"\0" * (-len(file.blob) % 4))
        starts.append(len(file.blob))
        bytes_of = load_uri(buffer["uri"], folder) if "uri" in buffer else binary
        file.blob.extend(bytes_of[: buffer["byteLength"]])
    for view in file.content.get("bufferViews", []):
        for place in (view, *view.get("extensions", {}).values()):
            if starts[place.get("buffer", 0)]:
                place["byteOffset"] = place.get("byteOffset", 0) + starts[place["buffer"]]
            if "buffer" in place:
                place["buffer"] = 0
    if buffers:
        file.content["buffers"] = [{key: value for key, value in buffers[0].items() if key != "uri"}]


def _embed_pictures(file: GlbFile, folder: Path) -> None:
    """Pictures in files of their own go into the buffer; a name of one that is not there stays."""
    for image in file.content.get("images", []):
        uri = image.get("uri", "data:")
        if uri.startswith("data:"):
            continue
        try:
            data = load_uri(uri, folder)
        except FileNotFoundError:
            continue
        file.blob.extend(b"\0" * (-len(file.blob) % 4))
        views = file.content.setdefault("bufferViews", [])
        views.append({"buffer": 0, "byteOffset": len(file.blob), "byteLength": len(data)})
        file.blob.extend(data)
        del image["uri"]
        image |= {"bufferView": len(views) - 1}
        image.setdefault("mimeType", mimetypes.guess_type(uri, strict=False)[0] or "image/png")
