"""Numbers in glTF 2.0 files: what an accessor holds."""

from __future__ import annotations

from typing import Any

import numpy as np

DTYPES = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


def read_accessor(gltf: Any, blob: bytes, accessor_id: int) -> np.ndarray[Any, Any]:
    """Values [count, width] of an accessor of a ``pygltflib.GLTF2``; normalised integers become floats."""
    accessor = gltf.accessors[accessor_id]
    view = gltf.bufferViews[accessor.bufferView]
    dtype, width = np.dtype(DTYPES[accessor.componentType]), WIDTHS[accessor.type]
    start = (view.byteOffset or 0) + (accessor.byteOffset or 0)
    stride = view.byteStride or dtype.itemsize * width
    raw = np.frombuffer(blob, np.uint8, count=stride * (accessor.count - 1) + dtype.itemsize * width, offset=start)
    rows = np.lib.stride_tricks.as_strided(raw, (accessor.count, dtype.itemsize * width), (stride, 1))
    values = np.ascontiguousarray(rows).view(dtype)
    if accessor.normalized:
        values = np.maximum(values.astype(np.float32) / np.iinfo(dtype.str).max, -1.0)
    return values
