"""A glTF file in one plain form, whatever it uses: one buffer, nothing packed, instances as nodes, near the origin.

Everything that reads or rewrites a file works on this form, so no other place knows of
Draco, meshoptimizer or instances.
"""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import numpy as np

from stages.errors import BadInput
from stages.meshes.compression import DTYPES, unpack_draco
from stages.meshes.meshopt import unpack_meshopt

INSTANCES = "EXT_mesh_gpu_instancing"
MAX_INSTANCES = 100_000
FAR = 1000.0
"""A file whose middle is farther from the origin than so many times its diagonal is moved there: single precision,
which all that follows works in, would leave less than four digits of its shape. [ours]"""

Content = dict[str, Any]


def plain_gltf(data: bytes, path: Path) -> tuple[Content, bytes, bytes, list[str]]:
    """The JSON of a ``.glb`` or ``.gltf`` that lies at ``path``, or would; its one buffer; the file in that form (the
    same bytes where it had it); and what to tell of what was done.

    Raises:
        BadInput: a buffer that it names is missing; what is packed cannot be unpacked.
        NotAvailable: it is packed by Draco, and DracoPy is not there.
        ValueError: it is not glTF; json and struct raise others.
    """
    content, binary = _parse(data)
    blob, starts = _join_buffers(content, binary, path)
    changed = unpack_meshopt(content, blob, starts) if starts else False
    for view in content.get("bufferViews", []):
        view["byteOffset"] = view.get("byteOffset", 0) + starts[view.get("buffer", 0)]
        view["buffer"] = 0
    changed |= unpack_draco(content, blob, path)
    changed |= _place_instances(content, blob)
    told = _bring_near(content, path)
    content["buffers"] = [{"byteLength": len(blob)}] if blob else []
    return content, bytes(blob), _as_glb(content, bytes(blob)) if changed or told else data, told


def _parse(data: bytes) -> tuple[Content, bytes]:
    """The JSON and the binary chunk of a file."""
    if data[:4] != b"glTF":
        content, binary = json.loads(data.decode("utf-8-sig")), b""
    else:
        version, _, length, _ = struct.unpack("<IIII", data[4:20])
        if version != 2:
            raise ValueError(f"it is glTF {version}, and glTF 2 is read here")
        content = json.loads(data[20 : 20 + length].decode("utf-8-sig"))
        rest = data[20 + length :]
        binary = rest[8 : 8 + int.from_bytes(rest[:4], "little")] if rest[4:8] == b"BIN\0" else b""
    if not isinstance(content, dict) or "asset" not in content:
        raise ValueError("it is not glTF")
    if str(content["asset"].get("version", "2")).startswith("1"):
        raise ValueError("it is glTF 1, and glTF 2 is read here")
    return content, binary


def load_uri(uri: str, folder: Path) -> bytes:
    """What a URI of a glTF file stands for: a data URI, or a file beside it whose name may be percent-encoded
    (glTF 2.0, 2.8). Raises ``FileNotFoundError``; nothing is fetched from a network."""
    if uri.startswith("data:"):
        head, _, body = uri.partition(",")
        return base64.b64decode(unquote(body)) if head.endswith(";base64") else unquote_to_bytes(body)
    for name in (unquote(uri), uri, unquote(uri).replace("\\", "/")):
        if name and (folder / name).is_file():
            return (folder / name).read_bytes()
    raise FileNotFoundError(uri)


def _join_buffers(content: Content, binary: bytes, path: Path) -> tuple[bytearray, list[int]]:
    """All buffers one behind the other, and where each begins."""
    joined, starts = bytearray(), []
    for number, buffer in enumerate(content.get("buffers", [])):
        starts.append(len(joined))
        if buffer.get("uri"):
            try:
                joined += load_uri(buffer["uri"], path.parent)
            except FileNotFoundError:
                raise BadInput(
                    f"{path} needs {unquote(buffer['uri'])}, which is not beside it.", "Put the two together."
                ) from None
        elif number == 0:
            joined += binary
        joined += b"\0" * (-len(joined) % 4)
    return joined, starts


def _place_instances(content: Content, blob: bytearray) -> bool:
    """Give a node that shows its mesh many times (EXT_mesh_gpu_instancing) a child for each. Returns whether any did.

    Raises:
        ValueError: they are more than ``MAX_INSTANCES``.
    """
    nodes, found = content.get("nodes", []), False
    for node in list(nodes):
        instances = node.get("extensions", {}).pop(INSTANCES, None)
        if instances is None or "mesh" not in node:
            continue
        found, mesh = True, node.pop("mesh")
        arrays = {name: _numbers(content, blob, number) for name, number in instances["attributes"].items()}
        count = min(len(values) for values in arrays.values())
        if len(nodes) + count > MAX_INSTANCES:
            raise ValueError(f"it shows a mesh {count:,} times, more than {MAX_INSTANCES:,}")
        own = node.setdefault("children", [])
        for i in range(count):
            placed = {name.lower(): values[i].tolist() for name, values in arrays.items() if name in PLACES}
            own.append(len(nodes))
            nodes.append({"mesh": mesh, **placed})
    for key in ("extensionsUsed", "extensionsRequired"):
        if INSTANCES in content.get(key, []):
            content[key] = [name for name in content[key] if name != INSTANCES]
    return found


PLACES = ("TRANSLATION", "ROTATION", "SCALE")


def _numbers(content: Content, blob: bytearray, accessor_id: int) -> np.ndarray[Any, Any]:
    """Values [count, width] of an accessor of instances, which lie close together."""
    accessor = content["accessors"][accessor_id]
    dtype, width = np.dtype(DTYPES[accessor["componentType"]]), {"VEC3": 3, "VEC4": 4}.get(accessor["type"], 1)
    first = content["bufferViews"][accessor["bufferView"]].get("byteOffset", 0) + accessor.get("byteOffset", 0)
    values = np.frombuffer(blob, dtype, accessor["count"] * width, first).reshape(-1, width).astype(np.float64)
    return np.maximum(values / np.iinfo(dtype.str).max, -1.0) if accessor.get("normalized") else values


def _bring_near(content: Content, path: Path) -> list[str]:
    """Put a node above all others that moves a scene without skins, which lies far away, to the origin (``FAR``).
    Returns what to tell of it."""
    if content.get("skins") or not content.get("scenes"):
        return []
    scene = content["scenes"][content.get("scene", 0)]
    boxes = list(_boxes(content, scene.get("nodes", []), np.eye(4), 0))
    if not boxes:
        return []
    corners = np.concatenate(boxes)
    shift = far_away(corners)
    if shift is None:
        return []
    nodes = content["nodes"]
    nodes.append({"name": "origin", "children": scene.get("nodes", []), "translation": (-shift).tolist()})
    scene["nodes"] = [len(nodes) - 1]
    return [said_far(path, shift)]


def far_away(points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """The middle [3], in whole units, of ``points`` [P, 3] in double that are too far from the origin for single
    precision; None for others."""
    low, high = points.min(axis=0), points.max(axis=0)
    middle, diagonal = 0.5 * (low + high), float(np.linalg.norm(high - low))
    if not np.isfinite(middle).all() or not np.linalg.norm(middle) > FAR * diagonal > 0.0:
        return None
    return np.asarray(np.round(middle))


def said_far(path: Path, shift: np.ndarray[Any, Any]) -> str:
    """One sentence on what was moved from where."""
    where = ", ".join(f"{number:.0f}" for number in shift)
    return f"{path} lies far from the origin: its coordinates are read less ({where}), as is the mesh that is exported."


def _boxes(content: Content, node_ids: list[int], world: np.ndarray[Any, Any], depth: int) -> Any:
    """Corners [8, 3] of the box of every primitive below the nodes, as the file's accessors say it."""
    if depth > 200:
        return
    for node_id in node_ids:
        node = content["nodes"][node_id]
        here = world @ _matrix(node)
        mesh = content["meshes"][node["mesh"]] if "mesh" in node else {"primitives": []}
        for primitive in mesh["primitives"]:
            accessor = content["accessors"][primitive.get("attributes", {}).get("POSITION", 0)]
            if len(accessor.get("min", ())) == len(accessor.get("max", ())) == 3:
                both = np.array([accessor["min"], accessor["max"]], np.float64)
                if accessor.get("normalized"):
                    both = both / np.iinfo(np.dtype(DTYPES[accessor["componentType"]]).str).max
                corners = np.stack(np.meshgrid(*both.T), axis=-1).reshape(-1, 3)
                yield corners @ here[:3, :3].T + here[:3, 3]
        yield from _boxes(content, node.get("children", []), here, depth + 1)


def _matrix(node: Content) -> np.ndarray[Any, Any]:
    """A node's own transform [4, 4], in double."""
    if node.get("matrix"):
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    matrix = np.eye(4)
    x, y, z, w = node.get("rotation") or (0.0, 0.0, 0.0, 1.0)
    turn = np.array(
        [[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
         [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
         [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]]
    )  # fmt: skip
    matrix[:3, :3] = turn * np.array(node.get("scale") or (1.0, 1.0, 1.0))
    matrix[:3, 3] = node.get("translation") or (0.0, 0.0, 0.0)
    return matrix


def _as_glb(content: Content, blob: bytes) -> bytes:
    """The whole file as binary glTF."""
    text = json.dumps(content).encode()
    text, blob = text + b" " * (-len(text) % 4), blob + b"\0" * (-len(blob) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(blob), b"BIN\0") + blob
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
