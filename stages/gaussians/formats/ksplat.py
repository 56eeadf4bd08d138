"""GaussianSplats3D's ``.ksplat``: a 4096-byte header, headers of 1024 bytes a section, then the sections.

Header (little-endian): version 0 and 1 (2 bytes); at 4 the number of section headers, at 16 of Gaussians (uint32), at
20 the compression level (uint16), at 36 and 40 the range of harmonics (float32). Section header: at 0 its Gaussians, at
4 the room for them, at 8 the Gaussians of a full bucket, at 12 the number of buckets (uint32), at 16 the side of a
bucket (float32), at 20 its bytes (uint16), at 24 the range of positions, at 32 full and at 36 partly filled buckets
(uint32), at 40 the degree (uint16). A section is the sizes of its partly filled buckets (uint32), the buckets' centres
(float32 xyz), and the Gaussians: position, linear scales, rotation wxyz, colour and opacity as bytes, harmonics band by
band and in each channel by channel.

Level 0 stores float32. Level 1 stores positions as uint16 about their bucket's centre and the rest as float16. Level 2
also stores harmonics as bytes.
Source: github.com/mkkellogg/GaussianSplats3D, ``SplatBuffer.js`` (for the layout).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import BadInput
from stages.events import Report, silent
from stages.gaussians.asset import Gaussians
from stages.gaussians.formats.checked import (
    Array,
    check_claim,
    checked_gaussians,
    cut_short,
    log_scales_of,
    logits_of_bytes,
    read_bytes,
)
from stages.gaussians.sh import C0

HEADER, SECTION_HEADER = 4096, 1024


def read_ksplat(path: Path, report: Report = silent) -> Gaussians:
    """Read and check a ``.ksplat`` file. Raises ``BadInput``."""
    content = read_bytes(path)
    if len(content) < HEADER:
        raise cut_short(path, ".ksplat")
    major, minor = content[:2]
    num_sections, count, level = struct.unpack_from("<4xI8xIH", content)
    if (major, minor) != (0, 1) or level > 2:
        raise BadInput(
            f"{path} is not a .ksplat file of version 0.1 (it says {major}.{minor}, level {level}).", "Export it again."
        )
    if count == 0:
        raise BadInput(f"{path} holds zero Gaussians.", "Export it again, or give another file.")
    place = HEADER + num_sections * SECTION_HEADER
    check_claim(path, count, place + count * (44 if level == 0 else 24), len(content))
    low, high = struct.unpack_from("<36xff", content)
    span = (low or -1.5, high or 1.5)
    parts = []
    for i in range(num_sections):
        section = content[HEADER + i * SECTION_HEADER :][:SECTION_HEADER]
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is counted later
            part, place = _section(path, content, section, place, level, span)
        parts.append(part)
    widest = max((part["sh"].shape[1] for part in parts), default=1)
    for part in parts:  # sections may differ in degree
        part["sh"] = np.pad(part["sh"], ((0, 0), (0, widest - part["sh"].shape[1]), (0, 0)))
    if sum(len(part["means"]) for part in parts) != count:
        raise cut_short(path, ".ksplat")
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return checked_gaussians(path, **joined, report=report)


def _record(level: int, num_harmonics: int) -> np.dtype[Any]:
    number, position, harmonic = (("<f4", "<f4", "<f4"), ("<f2", "<u2", "<f2"), ("<f2", "<u2", "u1"))[level]
    fields: list[Any] = [("position", position, 3), ("scales", number, 3), ("quat", number, 4), ("rgba", "u1", 4)]
    return np.dtype([*fields, ("sh", harmonic, num_harmonics)])


def _section(
    path: Path, content: bytes, header: bytes, place: int, level: int, span: tuple[float, float]
) -> tuple[dict[str, Array], int]:
    """The Gaussians of the section at ``place``, and where the next one begins."""
    count, room, capacity, num_buckets, side, bucket_bytes = struct.unpack_from("<IIIIfH", header)
    position_range, full, partial, degree = struct.unpack_from("<24xI4xIIH", header)
    if degree > 3 or count > room or full * capacity > count or full + partial > num_buckets:
        raise cut_short(path, ".ksplat")
    record = _record(level, (0, 9, 24, 45)[degree])
    centres_at = place + 4 * partial
    start = centres_at + bucket_bytes * num_buckets
    end = start + room * record.itemsize
    check_claim(path, count, end, len(content))
    table = np.frombuffer(content, record, count=count, offset=start)
    means = table["position"].astype(np.float64)
    if level > 0:
        if bucket_bytes < 12:
            raise cut_short(path, ".ksplat")
        raw = np.frombuffer(content, np.uint8, bucket_bytes * num_buckets, centres_at).reshape(num_buckets, -1)
        centres = np.ascontiguousarray(raw[:, :12]).view("<f4")
        bucket = np.arange(count) // max(capacity, 1)
        sizes = np.frombuffer(content, "<u4", count=partial, offset=place).astype(np.int64)
        rest = count - full * capacity
        if sizes.sum() < rest:
            raise cut_short(path, ".ksplat")
        bucket[full * capacity :] = full + np.searchsorted(sizes.cumsum(), np.arange(rest), side="right")
        means = (means - (position_range or 32767)) * (side / 2.0 / (position_range or 32767)) + centres[bucket]
    harmonics = table["sh"].astype(np.float64)
    if level == 2:
        harmonics = span[0] + harmonics / 255.0 * (span[1] - span[0])
    part: dict[str, Array] = {
        "means": means,
        "quats": table["quat"].astype(np.float32),
        "log_scales": log_scales_of(table["scales"].astype(np.float64)),
        "logit_opacities": logits_of_bytes(table["rgba"][:, 3]),
        "sh": np.concatenate([(table["rgba"][:, None, :3] / 255.0 - 0.5) / C0, _coefficients(harmonics)], axis=1),
    }
    return part, end


def _coefficients(harmonics: Array) -> Array:
    """Coefficients beyond degree 0, [N, K, 3], of values [N, 3 K] that lie band by band, there channel by channel."""
    bands, first = [], 0
    for width in (3, 5, 7):
        if first < harmonics.shape[1]:
            bands.append(harmonics[:, first : first + 3 * width].reshape(-1, 3, width).transpose(0, 2, 1))
            first += 3 * width
    return np.concatenate(bands, axis=1) if bands else np.zeros((len(harmonics), 0, 3))
