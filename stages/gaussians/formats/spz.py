"""Niantic's ``.spz``: quantised sections, 16 to 65 bytes a Gaussian, compressed. Versions 1 to 4 read, 3 written.

=========  ======  ==========================================================================================
section    bytes   value
=========  ======  ==========================================================================================
positions  9       xyz, 24-bit signed fixed point with ``fractional_bits``; in version 1 xyz as 16-bit floats (6)
opacities  1       255 times the opacity
colours    3       ``255 (0.15 sh0 + 0.5)``
scales     3       ``16 (log_scale + 10)``
rotations  4       the three smallest components, 10 bits each (sign, 9 of magnitude over 1/sqrt 2), and 2 bits
                   that name the largest of xyzw; before version 3 xyz as ``127.5 (q + 1)`` (3), w positive
harmonics  3 K     ``128 (sh + 1)``, coefficient by coefficient, K = 0, 3, 8 or 15
=========  ======  ==========================================================================================

Versions 1 to 3 are one gzip stream of a 16-byte header and the sections. Version 4 is a 32-byte header, extensions, a
table of stream sizes and one zstd stream a section. The format's frame is right, up, back: y up, as here.
Source: github.com/nianticlabs/spz, README and ``load-spz.cc`` (for the layout).
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from stages.errors import BadInput
from stages.events import Caution, Note, Report, silent
from stages.gaussians.asset import Gaussians
from stages.gaussians.formats.checked import (
    Array,
    as_bytes,
    check_claim,
    checked_gaussians,
    cut_short,
    logits_of_bytes,
    read_bytes,
    unpacked_size,
    write_bytes,
)
from stages.gaussians.transform import lay

MAGIC = 0x5053474E
"""``NGSP`` in little-endian letters."""

HARMONICS = (0, 3, 8, 15, 24)
"""Coefficients beyond degree 0, by degree."""

ANTIALIASED, EXTENDED = 1, 2
"""Flags of the header."""

FINEST_BITS = 20
"""Fractional bits of positions are never more: a millionth of a unit."""


@dataclass(frozen=True)
class Header:
    """What both headers say."""

    version: int
    count: int
    sh_degree: int
    fractional_bits: int
    flags: int

    @property
    def sections(self) -> tuple[int, ...]:
        """Bytes of each section, in the file's order."""
        position, rotation = (6 if self.version == 1 else 9), (3 if self.version < 3 else 4)
        sizes = (position, 1, 3, 3, rotation, 3 * HARMONICS[self.sh_degree])
        return tuple(self.count * size for size in sizes)


def read_spz(path: Path, report: Report = silent) -> Gaussians:
    """Read and check an ``.spz`` file. Raises ``BadInput``."""
    return parse_spz(path, read_bytes(path), report)


def parse_spz(path: Path, content: bytes, report: Report = silent) -> Gaussians:
    """The Gaussians of ``content``, which is an ``.spz`` file or lies in the file ``path``. Raises ``BadInput``."""
    if content[:2] == b"\x1f\x8b":
        header, sections = _gzip_sections(path, content)
    elif content[:4] == struct.pack("<I", MAGIC):
        header, sections = _zstd_sections(path, content)
    else:
        raise BadInput(f"{path} is not an .spz file: it begins neither with gzip nor with NGSP.", "Export it again.")
    if header.flags & ANTIALIASED:
        report(Note(f"{path} was trained for an anti-aliasing renderer; that flag is not used."))
    if header.flags & EXTENDED:
        report(Caution(f"{path} has extensions of .spz, which are not used."))
    return _unpack(path, header, sections, report)


def _header(path: Path, fields: tuple[int, ...], versions: range) -> Header:
    """Checked header of (magic, version, count, degree, fractional bits, flags)."""
    magic, version, count, sh_degree, fractional_bits, flags = fields
    if magic != MAGIC or version not in versions:
        raise BadInput(f"{path} is not an .spz file of versions 1 to 4.", "Export it again as version 3.")
    if sh_degree >= len(HARMONICS):
        raise BadInput(f"{path} has harmonics of degree {sh_degree}; at most 4 is read.", "Export it with degree 3.")
    if fractional_bits > 24:
        raise BadInput(f"{path} has positions with {fractional_bits} fractional bits of 24.", "Export it again.")
    if count == 0:
        raise BadInput(f"{path} holds zero Gaussians.", "Export it again, or give another file.")
    return Header(version, count, sh_degree, fractional_bits, flags)


def _gzip_sections(path: Path, content: bytes) -> tuple[Header, list[bytes]]:
    """Versions 1 to 3."""
    stream = zlib.decompressobj(wbits=31)
    try:
        start = stream.decompress(content, 16)
        if len(start) < 16:
            raise cut_short(path, ".spz")
        header = _header(path, struct.unpack_from("<IIIBBB", start), range(1, 4))
        needed = sum(header.sections)
        check_claim(path, header.count, needed, unpacked_size(len(content)))
        payload = stream.decompress(stream.unconsumed_tail, needed)
    except zlib.error:
        raise cut_short(path, ".spz") from None
    if len(payload) < needed:
        raise cut_short(path, ".spz")
    ends = np.cumsum((0, *header.sections))
    return header, [payload[a:b] for a, b in pairwise(ends)]


def _zstd_sections(path: Path, content: bytes) -> tuple[Header, list[bytes]]:
    """Version 4."""
    if len(content) < 32:
        raise cut_short(path, ".spz")
    magic, version, count, degree, bits, flags, num_streams, table = struct.unpack_from("<IIIBBBBI", content)
    header = _header(path, (magic, version, count, degree, bits, flags), range(4, 5))
    wanted = [size for size in header.sections if size]
    check_claim(path, count, sum(wanted), unpacked_size(len(content)))
    place = table + 16 * num_streams
    if num_streams < len(wanted) or table < 32 or place > len(content):
        raise cut_short(path, ".spz")
    sections = []
    for i, size in enumerate(wanted):
        packed, unpacked = struct.unpack_from("<QQ", content, table + 16 * i)
        if unpacked != size or place + packed > len(content):
            raise cut_short(path, ".spz")
        try:
            section = zstandard.ZstdDecompressor().stream_reader(content[place : place + packed]).read(size)
        except zstandard.ZstdError:
            raise cut_short(path, ".spz") from None
        if len(section) != size:
            raise cut_short(path, ".spz")
        sections.append(section)
        place += packed
    return header, sections + [b""] * (len(header.sections) - len(wanted))


def _unpack(path: Path, header: Header, sections: list[bytes], report: Report) -> Gaussians:
    positions, alphas, colors, scales, rotations, harmonics = (np.frombuffer(s, np.uint8) for s in sections)
    num = header.count
    means: np.ndarray[Any, Any]
    if header.version == 1:
        means = positions.view("<f2").astype(np.float32).reshape(num, 3)
    else:
        low, middle, high = positions.reshape(num, 3, 3).astype(np.int32).transpose(2, 0, 1)
        whole = low | (middle << 8) | (high << 16)
        means = (whole - ((whole & 0x800000) << 1)) / float(1 << header.fractional_bits)
    return checked_gaussians(
        path,
        means=means,
        quats=_read_first_three(rotations) if header.version < 3 else _read_smallest_three(rotations),
        log_scales=scales.reshape(num, 3) / 16.0 - 10.0,
        logit_opacities=logits_of_bytes(alphas),
        sh=np.concatenate(
            [
                (colors.reshape(num, 1, 3) / 255.0 - 0.5) / 0.15,
                harmonics.reshape(num, HARMONICS[header.sh_degree], 3) / 128.0 - 1.0,
            ],
            axis=1,
        ),
        report=report,
    )


def _read_first_three(rotations: Array) -> Array:
    """wxyz [N, 4] of bytes [3 N] that hold xyz."""
    xyz = rotations.reshape(-1, 3) / 127.5 - 1.0
    w = np.sqrt(np.maximum(1.0 - (xyz**2).sum(axis=1, keepdims=True), 0.0))
    return np.concatenate([w, xyz], axis=1)


def _read_smallest_three(rotations: Array) -> Array:
    """wxyz [N, 4] of bytes [4 N]; the components lie from the last (lowest bits) to the first, the largest left out."""
    packed = rotations.view("<u4").astype(np.int64)
    largest, rows = packed >> 30, np.arange(len(packed))
    xyzw = np.zeros((len(packed), 4))
    for axis in (3, 2, 1, 0):
        stored = largest != axis
        magnitude = (packed & 0x1FF) / 511.0 * 0.5**0.5
        xyzw[:, axis] = np.where(stored, np.where(packed & 0x200, -magnitude, magnitude), 0.0)
        packed = np.where(stored, packed >> 10, packed)
    xyzw[rows, largest] = np.sqrt(np.maximum(1.0 - (xyzw**2).sum(axis=1), 0.0))
    return xyzw[:, [3, 0, 1, 2]]


def _smallest_three(quats: Array) -> Array:
    """The 32-bit words [N] of unit quaternions wxyz [N, 4]."""
    xyzw = quats[:, [1, 2, 3, 0]].astype(np.float64)
    largest = np.abs(xyzw).argmax(axis=1)
    xyzw = xyzw * np.where(xyzw[np.arange(len(xyzw)), largest] < 0, -1.0, 1.0)[:, None]
    magnitude = np.clip(np.rint(np.abs(xyzw) / 0.5**0.5 * 511.0), 0, 511).astype(np.int64)
    packed = np.zeros(len(xyzw), dtype=np.int64)
    for axis in range(4):
        word = (packed << 10) | np.where(xyzw[:, axis] < 0, 0x200, 0) | magnitude[:, axis]
        packed = np.where(largest == axis, packed, word)
    return (packed | (largest << 30)).astype("<u4")


def write_spz(path: Path, gaussians: Gaussians, *, up: str = "y") -> None:
    """Write version 3, Gaussians in their own order, positions as finely as their extent lets 24 bits.

    The format's axis that points up is y; ``up`` names another one for programs that take it otherwise.

    Scales below 4.5e-5 or above 380 units, and harmonics beyond [-1, 1], are clipped to what the format can hold.
    Raises ``CannotWrite``, or ``BadInput`` when positions lie more than 8 million units out.
    """
    gaussians = lay(gaussians, up)
    means = gaussians.means.detach().cpu().numpy().astype(np.float64)
    farthest = max(float(np.abs(means).max(initial=0.0)), 1e-6)
    bits = min(FINEST_BITS, int(np.floor(np.log2((2**23 - 1) / farthest))))
    if bits < 0:
        raise BadInput(f"Positions {farthest:g} units out do not fit into {path}.", "Write a .ply, or scale the asset.")
    whole = np.rint(means * (1 << bits)).astype(np.int64)
    sh = gaussians.sh.detach().cpu().numpy()
    sections = (
        np.stack([whole & 0xFF, (whole >> 8) & 0xFF, (whole >> 16) & 0xFF], axis=-1).astype(np.uint8),
        as_bytes(255.0 * gaussians.opacities.detach().cpu().numpy()),
        as_bytes(255.0 * (0.15 * sh[:, 0] + 0.5)),
        as_bytes(16.0 * (gaussians.log_scales.detach().cpu().numpy() + 10.0)),
        _smallest_three(gaussians.quats.detach().cpu().numpy()),
        as_bytes(128.0 * (sh[:, 1:] + 1.0)),
    )
    header = struct.pack("<IIIBBBB", MAGIC, 3, gaussians.num_gaussians, gaussians.sh_degree, bits, 0, 0)
    payload = header + b"".join(section.tobytes() for section in sections)
    write_bytes(path, gzip.compress(payload, mtime=0))
