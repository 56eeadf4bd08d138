"""What damages a file by its kind: JSON, headers, and what is packed unpacked, damaged and packed again."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

from tests.fuzz.damage import Rng, cut, flip, lengthen, lines, overwrite, splice, word

VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 3, 7, 255, 1.5, 1e308, -1e-300, 2**31, 2**40, 2**63, 10**400, float("nan"), float("inf"), "",
    "x", "../x", "\0", "SCALAR", "data:;base64,AAAA", [], {}, [[]], [0] * 17, [None], {"": 0}, [1e308] * 16, ["a", 1],
)  # fmt: skip

DEEP = 100_000
BOMB_PIECE = 1 << 20
LARGEST = 1 << 19
"""Bytes of a file whose inside is damaged; the seeds are smaller, bombs are larger."""


def mutate(data: bytes, name: str, rng: Rng) -> bytes:
    """``data``, the content of a file called ``name``, damaged in one to three ways."""
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        data = _once(data, name, rng)
    return data


def _once(data: bytes, name: str, rng: Rng) -> bytes:
    ways: list[Callable[[bytes, Rng], bytes]] = [flip, cut, overwrite, lengthen, splice]
    if len(data) > LARGEST:
        pass  # a bomb: no use in unpacking that here
    elif data[:2] == b"PK":
        ways += 5 * [in_zip] + [zip_bomb]
    elif data[:2] == b"\x1f\x8b":
        ways += 5 * [in_gzip] + [gzip_bomb]
    elif data[:4] == b"glTF":
        ways += 6 * [in_glb_json]
    elif name.endswith((".json", ".gltf")):
        ways += 8 * [in_json]
    elif name.endswith(".safetensors"):
        ways += 5 * [in_header_json]
    elif data[:4] == b"\x89PNG":
        ways += 2 * [huge_picture]
    elif data[:3] == b"GIF":
        ways += 2 * [huge_gif]
    if data[:3] == b"ply":
        ways += 6 * [in_ply_header]
    if _is_text(data):
        ways += 6 * [word, lines]
    return ways[int(rng.integers(len(ways)))](data, rng)


def _is_text(data: bytes) -> bool:
    return b"\0" not in data[:4096] and data[:4096].isascii()


def in_ply_header(data: bytes, rng: Rng) -> bytes:
    """A word or a line of the header."""
    head, end, body = data.partition(b"end_header")
    return (word if rng.random() < 0.7 else lines)(head, rng) + end + body


def in_json(data: bytes, rng: Rng) -> bytes:
    """A value of a JSON text replaced, left out or renamed; now and then something nested very deeply."""
    try:
        content = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return flip(data, rng)
    if rng.random() < 0.02:
        return b"[" * DEEP + b"]" * DEEP if rng.random() < 0.5 else b'{"a":' * DEEP + b"1" + b"}" * DEEP
    places: list[tuple[Any, Any]] = []
    _collect(content, places)
    if not places:
        return data
    holder, key = places[int(rng.integers(len(places)))]
    chance, deep = rng.random(), False
    if chance < 0.15:
        del holder[key]
    elif chance < 0.25 and isinstance(holder, dict):
        holder["x"] = holder.pop(key)
    elif chance < 0.3 and isinstance(holder, list):
        holder.extend([holder[key]] * int(rng.choice([1, 3, 1000])))
    elif chance < 0.33:
        holder[key], deep = "DEEP", True
    elif chance < 0.55 and isinstance(holder[key], (int, float)):
        holder[key] = type(holder[key])(float(rng.choice([-1, 0, 1, 2, 1000])) + holder[key])
    else:
        holder[key] = VALUES[int(rng.integers(len(VALUES)))]
    text = json.dumps(content)
    return (text.replace('"DEEP"', "[" * DEEP + "]" * DEEP) if deep else text).encode()


def _collect(value: Any, places: list[tuple[Any, Any]]) -> None:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        places.append((value, key))
        _collect(value[key], places)


def in_glb_json(data: bytes, rng: Rng) -> bytes:
    """The JSON chunk of a binary glTF."""
    length = int.from_bytes(data[12:16], "little")
    text = in_json(data[20 : 20 + length], rng)
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    return (
        struct.pack("<4sII", b"glTF", 2, 20 + len(text) + len(rest))
        + struct.pack("<I4s", len(text), b"JSON")
        + text
        + rest
    )


def in_header_json(data: bytes, rng: Rng) -> bytes:
    """The JSON at the head of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    text = in_json(data[8 : 8 + length], rng)
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def in_gzip(data: bytes, rng: Rng) -> bytes:
    """What a gzip stream holds, with a right sum."""
    try:
        content = gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return flip(data, rng)
    return gzip.compress((overwrite if rng.random() < 0.5 else flip)(content, rng), 1)


def in_zip(data: bytes, rng: Rng) -> bytes:
    """One part of a zip, with a right sum; or a part left out, or under another name."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
    except Exception:  # damaged before
        return flip(data, rng)
    if not parts:
        return data
    name = list(parts)[int(rng.integers(len(parts)))] if rng.random() < 0.5 else next(iter(parts))
    chance = rng.random()
    if chance < 0.1:
        del parts[name]
    elif chance < 0.2:
        parts[name] = list(parts.values())[int(rng.integers(len(parts)))]
    elif chance < 0.3:
        parts[name] = huge_picture(_png_of_nothing(), rng)
    else:
        parts[name] = _once(parts[name], name, rng)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, content in parts.items():
            archive.writestr(part, content)
    return stream.getvalue()


def _zeros(size: int, wbits: int) -> bytes:
    """A deflate stream of ``size`` zeros, made of one piece over and over; its sum is not right."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    start = packer.compress(b"\0" * BOMB_PIECE) + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(b"\0" * BOMB_PIECE) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + piece * (size // BOMB_PIECE - 2) + packer.compress(b"\0" * BOMB_PIECE) + packer.flush()


def gzip_bomb(data: bytes, rng: Rng) -> bytes:
    """The header of an ``.spz`` that promises what follows: gigabytes of zeros out of megabytes."""
    try:
        head = bytearray(gzip.decompress(data)[:16])
    except (OSError, EOFError, zlib.error):
        head = bytearray(16)
    size = int(rng.choice([3, 4, 6])) << 30
    if rng.random() < 0.7:
        head[8:12] = struct.pack("<I", (size >> 30) * int(rng.choice([10_000_000, 50_000_000])))
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    start = packer.compress(bytes(head) + b"\0" * (BOMB_PIECE - 16)) + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(b"\0" * BOMB_PIECE) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + piece * (size // BOMB_PIECE) + packer.flush()


def zip_bomb(data: bytes, rng: Rng) -> bytes:
    """A part of a zip that unpacks to gigabytes; what the directory says of its size is right, or a lie."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
    except Exception:  # damaged before
        return flip(data, rng)
    size = int(rng.choice([1, 3])) << 30
    names, bomb, stream = list(parts) or ["meta.json"], _zeros(size, -15), io.BytesIO()
    victim = names[int(rng.integers(len(names)))] if rng.random() < 0.5 else names[0]
    entries = []
    for name in names:
        content = parts.get(name, b"")
        packed, real = (bomb, size) if name == victim else (content, len(content))
        if name == victim and rng.random() < 0.4:
            real = int(rng.choice([len(content), 1, 1 << 20]))
        method, total = (8 if name == victim else 0), zlib.crc32(content)
        about = struct.pack("<HHHIIIIHH", 20, 0, method, 0, total, len(packed), real, len(name), 0)
        entries.append((about, name.encode(), stream.tell()))
        stream.write(b"PK\x03\x04" + about + name.encode() + packed)
    start = stream.tell()
    for about, encoded, at in entries:
        stream.write(b"PK\x01\x02\x14\0" + about + struct.pack("<HHHII", 0, 0, 0, 0, at) + encoded)
    stream.write(
        struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, len(names), len(names), stream.tell() - start, start, 0)
    )
    return stream.getvalue()


def _png_of_nothing() -> bytes:
    head = struct.pack(">IIBBBBB", 8, 8, 8, 6, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 33 * 8)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def huge_picture(data: bytes, rng: Rng) -> bytes:
    """A PNG that claims other sides, with a right sum."""
    if data[12:16] != b"IHDR":
        return flip(data, rng)
    sides = [int(rng.choice([0, 1, 100, 9_000, 13_000, 30_000, 70_000, 2**31 - 1])) for _ in range(2)]
    head = b"IHDR" + struct.pack(">II", *sides) + data[24:29]
    return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]


def huge_gif(data: bytes, rng: Rng) -> bytes:
    """A GIF that claims another screen."""
    return data[:6] + struct.pack("<HH", *(int(rng.choice([0, 1, 9_000, 65_535])) for _ in range(2))) + data[10:]
