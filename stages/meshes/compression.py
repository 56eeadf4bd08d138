"""Compressed glTF made plain: what KHR_draco_mesh_compression packs is unpacked into ordinary accessors.

Draco by DracoPy. Buffer views packed by meshoptimizer are unpacked in ``meshopt``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import BadInput, NotAvailable, first_line

DRACO = "KHR_draco_mesh_compression"
DTYPES = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}


def unpack_draco(content: dict[str, Any], blob: bytearray, path: Path) -> bool:
    """Replace what is packed by Draco in ``content``, the file's JSON, by accessors of ``blob``, its joined buffers.

    Returns whether anything was. A primitive that has its vertices unpacked as well keeps those.

    Raises:
        BadInput: the packed data cannot be read.
        NotAvailable: DracoPy is not installed.
    """
    found = False
    for mesh in content.get("meshes", []):
        for primitive in mesh.get("primitives", []):
            packed = primitive.get("extensions", {}).pop(DRACO, None)
            if packed is None:
                continue
            found = True
            position = content["accessors"][primitive["attributes"]["POSITION"]]
            if "bufferView" not in position:
                _unpack(content, blob, primitive, packed, path)
    for key in ("extensionsUsed", "extensionsRequired"):
        if DRACO in content.get(key, []):
            content[key] = [name for name in content[key] if name != DRACO]
            found = True
    return found


def _unpack(
    content: dict[str, Any], blob: bytearray, primitive: dict[str, Any], packed: dict[str, Any], path: Path
) -> None:
    """One primitive: its accessors, which say type and count only, are given their numbers."""
    try:
        import DracoPy
    except ImportError:
        raise NotAvailable(f"{path} is compressed ({DRACO}).", "pip install DracoPy, or export it without.") from None
    view = content["bufferViews"][packed["bufferView"]]
    start = view.get("byteOffset", 0)
    try:
        mesh = DracoPy.decode(bytes(blob[start : start + view["byteLength"]]))
        arrays = {name: mesh.get_attribute_by_unique_id(number) for name, number in packed["attributes"].items()}
    except Exception as error:  # DracoPy raises what its decoder says
        raise BadInput(
            f"{path} is compressed ({DRACO}), and that cannot be unpacked: {first_line(error)}.",
            "Export it again without compression.",
        ) from None
    for name, number in primitive["attributes"].items():
        if arrays.get(name) is not None:
            _give(content, blob, number, np.asarray(arrays[name]["data"]))
    if "indices" in primitive and getattr(mesh, "faces", None) is not None:
        _give(content, blob, primitive["indices"], np.asarray(mesh.faces).reshape(-1))
        primitive["mode"] = 4  # Draco holds triangles, also where the file had strips


def _give(content: dict[str, Any], blob: bytearray, accessor_id: int, values: np.ndarray[Any, Any]) -> None:
    """Write the numbers of an accessor behind the others, as the accessor says they are stored."""
    accessor = content["accessors"][accessor_id]
    dtype = np.dtype(DTYPES[accessor["componentType"]])
    if accessor["type"] == "SCALAR" and values.size and int(values.max()) > np.iinfo(dtype.str).max:
        dtype, accessor["componentType"] = np.dtype(np.uint32), 5125
    values = np.ascontiguousarray(values.astype(dtype))
    row = values.nbytes // max(1, len(values))
    view: dict[str, Any] = {"buffer": 0}
    if row % 4 and values.ndim > 1:  # rows of vertices begin at multiples of four
        padded = np.zeros((len(values), row + (-row % 4)), np.uint8)
        padded[:, :row] = values.view(np.uint8).reshape(len(values), row)
        values, view["byteStride"] = padded, padded.shape[1]
    blob.extend(b"\0" * (-len(blob) % 4))
    view |= {"byteOffset": len(blob), "byteLength": values.nbytes}
    blob.extend(values.tobytes())
    content["bufferViews"].append(view)
    accessor |= {"bufferView": len(content["bufferViews"]) - 1, "byteOffset": 0, "count": len(values)}
