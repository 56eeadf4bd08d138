"""What damages any file, and any text: bits, lengths, counts, NaN, words, lines."""

from __future__ import annotations

import re
import struct

import numpy as np

Rng = np.random.Generator

NUMBERS = (
    *(struct.pack("<I", value) for value in (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 20, 1 << 28)),
    *(struct.pack("<Q", value) for value in (1 << 32, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)),
    *(struct.pack("<f", value) for value in (float("nan"), float("inf"), float("-inf"), 3e38, 1e-45)),
    *(struct.pack("<d", value) for value in (float("nan"), float("inf"), 1e308)),
)
"""Counts and values that real files never have, as bytes."""

WORDS = ("0", "-1", "1e999", "nan", "inf", "4294967296", "999999999999", "99999999", "", "x", "1/1/1/1", "\N{SNOWMAN}")
"""The same as text."""


def place(data: bytes, rng: Rng) -> int:
    """A byte of ``data``, half of the time among the first 256, where headers are."""
    size = max(1, len(data))
    return int(rng.integers(min(size, 256) if rng.random() < 0.5 else size))


def flip(data: bytes, rng: Rng) -> bytes:
    """1 to 64 bits."""
    changed = bytearray(data)
    for _ in range(int(2 ** rng.integers(0, 7)) if changed else 0):
        changed[place(data, rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def cut(data: bytes, rng: Rng) -> bytes:
    """Truncated."""
    return data[: place(data, rng)]


def overwrite(data: bytes, rng: Rng) -> bytes:
    """A count or a value, at a multiple of 4 mostly."""
    number = NUMBERS[int(rng.integers(len(NUMBERS)))]
    at = place(data, rng)
    at -= at % 4 if rng.random() < 0.8 else 0
    return data[:at] + number + data[at + len(number) :]


def lengthen(data: bytes, rng: Rng) -> bytes:
    """A piece of it doubled, or bytes added at the end."""
    if rng.random() < 0.3:
        return data + rng.bytes(int(rng.integers(1, 4096)))
    a, b = sorted((place(data, rng), place(data, rng)))
    return data[:b] + data[a:b] + data[b:]


def splice(data: bytes, rng: Rng) -> bytes:
    """A piece of it left out."""
    a, b = sorted((place(data, rng), place(data, rng)))
    return data[:a] + data[b:]


def word(data: bytes, rng: Rng) -> bytes:
    """A number or word of a text becomes another."""
    found = list(re.finditer(rb"[^\s,\"\[\]{}:]+", data))
    if not found:
        return data
    one = found[int(rng.integers(min(len(found), 40) if rng.random() < 0.5 else len(found)))]
    return data[: one.start()] + WORDS[int(rng.integers(len(WORDS)))].encode() + data[one.end() :]


def lines(data: bytes, rng: Rng) -> bytes:
    """Lines of a text swapped, doubled or left out."""
    rows = data.split(b"\n")
    a, b = (int(rng.integers(len(rows))) for _ in range(2))
    if rng.random() < 0.5:
        rows[a], rows[b] = rows[b], rows[a]
    elif rng.random() < 0.5:
        rows.insert(a, rows[b])
    else:
        del rows[a]
    return b"\n".join(rows)
