"""Buffer views packed by meshoptimizer (EXT_meshopt_compression, as gltfpack writes it), unpacked.

The bitstreams and filters are those of the extension's own text (Khronos, EXT_meshopt_compression, appendices A and B):
attributes (mode ATTRIBUTES, version 0), triangle lists (TRIANGLES, versions 0 and 1) and index sequences (INDICES).
Written from that text; no code is anybody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

NAMES = ("EXT_meshopt_compression", "KHR_meshopt_compression")
GROUP = 16
"""Elements whose bytes are stored with one width."""

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


def unpack_meshopt(content: dict[str, Any], blob: bytearray, starts: list[int]) -> bool:
    """Replace packed buffer views in ``content``, the file's JSON, by plain ones of ``blob``, its joined buffers.

    Args:
        starts: where each of the file's buffers begins in ``blob``; views count from their own buffer still.

    Returns:
        Whether any were.

    Raises:
        ValueError: the packed data cannot be read.
    """
    found = False
    for view in content.get("bufferViews", []):
        packed = next((view["extensions"].pop(name) for name in NAMES if name in view.get("extensions", {})), None)
        if packed is None:
            continue
        found = True
        first = starts[packed["buffer"]] + packed.get("byteOffset", 0)
        data = np.frombuffer(bytes(blob[first : first + packed["byteLength"]]), np.uint8)
        plain = unpack(data, packed["count"], packed["byteStride"], packed["mode"], packed.get("filter", "NONE"))
        blob.extend(b"\0" * (-len(blob) % 4))
        view |= {"buffer": 0, "byteOffset": len(blob) - starts[0], "byteLength": len(plain)}
        blob.extend(plain)
    for key in ("extensionsUsed", "extensionsRequired"):
        if any(name in NAMES for name in content.get(key, [])):
            content[key] = [name for name in content[key] if name not in NAMES]
    return found


def unpack(data: Bytes, count: int, stride: int, mode: str, filtered: str = "NONE") -> bytes:
    """``count`` elements of ``stride`` bytes. Raises ``ValueError``: the data is cut short, or of another kind."""
    if count * stride > 2**31:
        raise ValueError("more than 2 GiB are packed in one view")
    tightest = 64 if mode == "ATTRIBUTES" else 3 * stride  # bytes out of one: 16 of no bits in two; a triangle in one
    if count * stride > tightest * (len(data) + GROUP):
        raise ValueError(f"{count:,} elements are promised, more than are packed in {len(data):,} bytes")
    if mode == "ATTRIBUTES":
        rows = _attributes(data, count, stride)
        return FILTERS[filtered](rows).tobytes()
    if mode not in ("TRIANGLES", "INDICES"):
        raise ValueError(f"a packing mode {mode}, which is not known")
    indices = _triangles(data, count) if mode == "TRIANGLES" else _sequence(data, count)
    return indices.astype(np.uint16 if stride == 2 else np.uint32).tobytes()


def _attributes(data: Bytes, count: int, stride: int) -> Bytes:
    """Rows [count, stride] of bytes: differences from row to row, in groups of 16 with few bits each (A.1)."""
    if not len(data) or data[0] != 0xA0:
        raise ValueError("attributes packed in a version that is not known")
    tail = max(stride, 32)
    if len(data) < 1 + tail:
        raise ValueError("packed attributes are cut short")
    rows = np.zeros((count, stride), np.uint8)
    last = data[len(data) - stride :].copy()
    block, place = min((8192 // stride) & ~(GROUP - 1), 256), 1
    for first in range(0, count, block):
        size = min(block, count - first)
        for column in range(stride):
            deltas, place = _byte_column(data, place, -(-size // GROUP))
            signed = (deltas[:size] >> 1) ^ (-(deltas[:size] & 1).astype(np.int16)).astype(np.uint8)
            rows[first : first + size, column] = np.cumsum(signed, dtype=np.uint8) + last[column]
        last = rows[first + size - 1].copy()
    return rows


def _byte_column(data: Bytes, place: int, groups: int) -> tuple[Bytes, int]:
    """One byte of 16 ``groups`` elements, and where the data goes on: two bits a group say how wide it is stored."""
    head = data[place : place + -(-groups // 4)]
    if len(head) < -(-groups // 4):
        raise ValueError("packed attributes are cut short")
    place += len(head)
    values = np.zeros((groups, GROUP), np.uint8)
    for group in range(groups):
        width = (0, 2, 4, 8)[(int(head[group // 4]) >> (2 * (group % 4))) & 3]
        packed = data[place : place + 2 * width]
        if len(packed) < 2 * width:
            raise ValueError("packed attributes are cut short")
        place += len(packed)
        if width == 8:
            values[group] = packed
        elif width:
            shifts = np.arange(8 - width, -1, -width, dtype=np.uint8)
            short = ((packed[:, None] >> shifts) & ((1 << width) - 1)).reshape(-1)
            wide = np.nonzero(short == (1 << width) - 1)[0]  # those follow as whole bytes
            short[wide] = data[place : place + len(wide)]
            values[group], place = short, place + len(wide)
    return values.reshape(-1), place


class _Reader:
    """Bytes read one behind the other."""

    def __init__(self, data: Bytes, place: int) -> None:
        self.data, self.place = data.tolist(), place

    def byte(self) -> int:
        if self.place >= len(self.data):
            raise ValueError("packed indices are cut short")
        self.place += 1
        return int(self.data[self.place - 1])

    def number(self) -> int:
        """Seven bits a byte, the lowest first."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128 or shift > 35:
                return value

    def difference(self) -> int:
        """A number with its sign in the lowest bit."""
        value = self.number()
        return (value >> 1) ^ -(value & 1)


def _sequence(data: Bytes, count: int) -> np.ndarray[Any, Any]:
    """Indices as differences from one of two that came before (A.3)."""
    if not len(data) or data[0] & 0xF0 != 0xD0:
        raise ValueError("indices packed in a version that is not known")
    reader, last, found = _Reader(data, 1), [0, 0], np.zeros(count, np.int64)
    for i in range(count):
        value = reader.number()
        which, value = value & 1, value >> 1
        last[which] += (value >> 1) ^ -(value & 1)
        found[i] = last[which]
    return found


def _triangles(data: Bytes, count: int) -> np.ndarray[Any, Any]:
    """Corners of triangles that share edges and vertices with those just before them (A.2)."""
    if not len(data) or data[0] not in (0xE0, 0xE1):
        raise ValueError("triangles packed in a version that is not known")
    explicit = 13 if data[0] == 0xE1 else 15
    triangles = count // 3
    reader = _Reader(data[: max(0, len(data) - 16)], 1 + triangles)
    codes, table = data[1 : 1 + triangles].tolist(), data[-16:].tolist()
    if len(codes) < triangles:
        raise ValueError("packed indices are cut short")
    edges: list[tuple[int, int]] = [(0, 0)] * 16  # the latest last
    vertices: list[int] = [0] * 16
    found: list[int] = []
    following = last = 0

    def corner(code: int) -> int:
        """A vertex that is new (0), given in full (15), or one of those before."""
        nonlocal following
        if code == 0:
            following += 1
            return following - 1
        return 0 if code == 15 else olds[-code]

    for code in codes:
        olds = vertices
        if code < 0xF0:
            a, b = edges[-1 - (code >> 4)]
            which = code & 15
            if 0 < which < explicit:
                c = vertices[-1 - which]
            else:
                if which == 0:
                    c = corner(0)
                else:
                    last += reader.difference() if which == 15 else which - (which ^ 3)
                    c = last
                vertices = [*vertices[1:], c]
            edges = [*edges[2:], (c, b), (a, c)]
        else:
            other = table[code & 15] if code < 0xFE else reader.byte()
            if code >= 0xFE and other == 0:
                following = 0
            full = (15 if code == 0xFF else 0, other >> 4, other & 15)
            corners = [corner(which) for which in full]
            if code >= 0xFE:
                for k, which in enumerate(full):
                    if which == 15:
                        last += reader.difference()
                        corners[k] = last
            a, b, c = corners
            new = [a] + [v for v, which in ((b, full[1]), (c, full[2])) if which == 0 or (which == 15 and code >= 0xFE)]
            vertices = [*vertices, *new][-16:]
            edges = [*edges[3:], (b, a), (c, b), (a, c)]
        found += (a, b, c)
    return np.array(found, np.int64)


def _octahedral(rows: Bytes) -> Bytes:
    """Unit vectors of three from two numbers and their largest (B.1); a fourth stays."""
    dtype = np.dtype(np.int8 if rows.shape[1] == 4 else np.int16)
    packed = rows.view(dtype).astype(np.float32)
    x, y, one = packed[:, 0], packed[:, 1], packed[:, 2]
    x, y = x / one, y / one
    z = 1.0 - np.abs(x) - np.abs(y)
    beyond = np.minimum(z, 0.0)
    x, y = x + np.where(x >= 0, beyond, -beyond), y + np.where(y >= 0, beyond, -beyond)
    scale = np.iinfo(dtype.str).max / np.sqrt(x * x + y * y + z * z)
    unpacked = rows.view(dtype).copy()
    unpacked[:, :3] = _rounded(np.stack([x, y, z], axis=1) * scale[:, None])
    return unpacked.view(np.uint8)


def _quaternion(rows: Bytes) -> Bytes:
    """Unit quaternions from their three smaller numbers (B.2)."""
    packed = rows.view(np.int16)
    largest = packed[:, 3] & 3
    scale = np.sqrt(0.5) / (packed[:, 3] | 3).astype(np.float32)
    small = packed[:, :3].astype(np.float32) * scale[:, None]
    whole = np.sqrt(np.maximum(0.0, 1.0 - (small * small).sum(axis=1)))
    unpacked = np.zeros((len(rows), 4), np.int16)
    each = np.arange(len(rows))
    for k, values in enumerate((small[:, 0], small[:, 1], small[:, 2], whole)):
        unpacked[each, (largest + 1 + k) % 4] = _rounded(values * 32767.0)
    return unpacked.view(np.uint8)


def _exponential(rows: Bytes) -> Bytes:
    """Floats from a mantissa of 24 bits and an exponent of 8 (B.3)."""
    packed = rows.view(np.int32)
    return np.ldexp(((packed << 8) >> 8).astype(np.float32), packed >> 24).astype(np.float32).view(np.uint8)


def _rounded(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """To the nearest whole number, halves away from zero."""
    return np.asarray(np.trunc(values + np.copysign(0.5, values)))


FILTERS: dict[str, Callable[[Bytes], Bytes]] = {
    "NONE": lambda rows: rows, "OCTAHEDRAL": _octahedral, "QUATERNION": _quaternion, "EXPONENTIAL": _exponential,
}  # fmt: skip
