"""PlayCanvas's compressed ``.ply``: chunks of 256 Gaussians that share bounds, 16 bytes a Gaussian and 9 to 45 more.

``chunk`` holds ``min_`` and ``max_`` of ``x y z``, of ``scale_x scale_y scale_z`` (logarithms) and, in newer files, of
``r g b``. ``vertex`` holds four 32-bit words: ``packed_position`` and ``packed_scale`` as 11, 10 and 11 bits between
those bounds; ``packed_rotation`` as the index of the largest of wxyz in 2 bits, then the other three in 10 bits each
over -1/sqrt 2..1/sqrt 2; ``packed_color`` as r, g, b between their bounds and the opacity, 8 bits each. ``sh`` holds
``f_rest_i`` as bytes over -4..4, channel by channel.
Source: the format's description in PlayCanvas's developer manual and github.com/playcanvas/splat-transform.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from plyfile import PlyData, PlyElement

from stages.errors import BadInput, first_line
from stages.events import Report, silent
from stages.files import replacing
from stages.gaussians.asset import Gaussians
from stages.gaussians.formats.checked import IN_PLACE, Array, as_bytes, checked_gaussians, logits_of_bytes
from stages.gaussians.formats.ply_file import up_comments
from stages.gaussians.sh import C0
from stages.gaussians.transform import lay

CHUNK = 256
WIDTHS = (11, 10, 11)
"""Bits of positions and scales, by axis."""

PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")


def unpack_ply(path: Path, ply: PlyData, report: Report = silent) -> Gaussians:
    """Gaussians of an opened compressed file. Raises ``BadInput``."""
    try:
        words = {name: np.asarray(ply["vertex"].data[name]).astype(np.int64) for name in PACKED}
        bounds = ply["chunk"].data
        num = len(words["packed_position"])
        if len(bounds) < -(-num // CHUNK):
            raise BadInput(f"{path} has {len(bounds)} chunks for {num} Gaussians.", "Export it again.")
        chunk = np.arange(num) // CHUNK

        def between(kind: str, axes: str, unit: Array) -> Array:
            low, high = (
                np.stack([np.asarray(bounds[f"{end}_{kind}{axis}"], np.float64)[chunk] for axis in axes], axis=-1)
                for end in ("min", "max")
            )
            return low + unit * (high - low)

        color = _bits(words["packed_color"], (8, 8, 8, 8))
        rgb = between("", "rgb", color[:, :3]) if "min_r" in (bounds.dtype.names or ()) else color[:, :3]
        return checked_gaussians(
            path,
            means=between("", "xyz", _bits(words["packed_position"], WIDTHS)),
            quats=_quats(words["packed_rotation"]),
            log_scales=between("scale_", "xyz", _bits(words["packed_scale"], WIDTHS)),
            logit_opacities=logits_of_bytes(255.0 * color[:, 3]),
            sh=np.concatenate([(rgb[:, None] - 0.5) / C0, _harmonics(path, ply, num)], axis=1),
            report=report,
        )
    except (KeyError, ValueError) as error:
        raise BadInput(
            f"{path} is a compressed PLY without what it needs: {first_line(error)}.", "Export it again."
        ) from None


def _bits(words: Array, widths: tuple[int, ...]) -> Array:
    """Fields [N, len(widths)] of 32-bit words, the first in the highest bits, each over 0..1."""
    shifts = 32 - np.cumsum(widths)
    return np.stack(
        [
            ((words >> shift) & ((1 << width) - 1)) / ((1 << width) - 1)
            for shift, width in zip(shifts, widths, strict=True)
        ],
        axis=-1,
    )


def _quats(words: Array) -> Array:
    """wxyz [N, 4] of packed rotations."""
    others = (_bits(words, (2, 10, 10, 10))[:, 1:] - 0.5) * 2.0**0.5
    largest = np.sqrt(np.maximum(1.0 - (others**2).sum(axis=1), 0.0))
    quats = np.empty((len(words), 4))
    for place in range(4):
        rows = (words >> 30) == place
        quats[rows] = np.insert(others[rows], place, largest[rows], axis=1)
    return quats


def _harmonics(path: Path, ply: PlyData, num: int) -> Array:
    """Coefficients beyond degree 0, [N, K, 3]."""
    if "sh" not in ply:
        return np.zeros((num, 0, 3))
    table = ply["sh"].data
    count = len(table.dtype.names or ())
    if count not in (9, 24, 45) or len(table) != num:
        raise BadInput(f"{path} has {count} harmonics for {len(table)} of {num} Gaussians.", "Export it again.")
    stored = np.stack([np.asarray(table[f"f_rest_{i}"], np.float64) for i in range(count)], axis=-1)
    unit = np.where(stored <= 0, 0.0, np.where(stored >= 255, 1.0, (stored + 0.5) / 256.0))
    return ((unit - 0.5) * 8.0).reshape(num, 3, count // 3).transpose(0, 2, 1)


def write_compressed_ply(path: Path, gaussians: Gaussians, *, up: str = "y") -> None:
    """Write the compressed layout, Gaussians in their own order: chunks are small, and so exact, where neighbours
    follow each other (``spread.along_curve``). A comment says which axis ``up`` points up where it is not y.

    Harmonics beyond [-4, 4] are clipped. Raises ``CannotWrite``.
    """
    gaussians = lay(gaussians, up)
    num = gaussians.num_gaussians
    means, log_scales, quats, sh = (
        tensor.detach().cpu().double().numpy()
        for tensor in (gaussians.means, gaussians.log_scales, gaussians.quats, gaussians.sh)
    )
    bounds: dict[str, Array] = {}
    words = np.zeros(num, dtype=[(name, "<u4") for name in PACKED])
    alpha = gaussians.opacities.detach().cpu().double().numpy()[:, None]
    words["packed_position"] = _words(_between(means, "", "xyz", bounds), WIDTHS)
    words["packed_rotation"] = _packed_quats(quats)
    words["packed_scale"] = _words(_between(log_scales, "scale_", "xyz", bounds), WIDTHS)
    colors = _between(0.5 + C0 * sh[:, 0], "", "rgb", bounds)
    words["packed_color"] = _words(np.concatenate([colors, alpha], axis=1), (8, 8, 8, 8))
    chunks = np.zeros(-(-num // CHUNK), dtype=[(name, "<f4") for name in bounds])
    for name, values in bounds.items():
        chunks[name] = values
    elements = [PlyElement.describe(chunks, "chunk"), PlyElement.describe(words, "vertex")]
    if sh.shape[1] > 1:
        rest = as_bytes(np.floor((sh[:, 1:].transpose(0, 2, 1).reshape(num, -1) / 8.0 + 0.5) * 256.0))
        table = np.zeros(num, dtype=[(f"f_rest_{i}", "u1") for i in range(rest.shape[1])])
        for i in range(rest.shape[1]):
            table[f"f_rest_{i}"] = rest[:, i]
        elements.append(PlyElement.describe(table, "sh"))
    with replacing(path, IN_PLACE) as temporary:
        PlyData(elements, byte_order="<", comments=up_comments(up)).write(str(temporary))


def _between(values: Array, kind: str, axes: str, bounds: dict[str, Array]) -> Array:
    """``values`` [N, 3] as shares of the bounds of their chunk, which are added to ``bounds``."""
    starts = np.arange(0, len(values), CHUNK)
    low = np.minimum.reduceat(values, starts, axis=0).astype(np.float32)
    high = np.maximum.reduceat(values, starts, axis=0).astype(np.float32)
    for end, limit in (("min", low), ("max", high)):
        bounds |= {f"{end}_{kind}{axis}": limit[:, k] for k, axis in enumerate(axes)}
    chunk = np.arange(len(values)) // CHUNK
    width = (high.astype(np.float64) - low)[chunk]
    return (values - low[chunk]) / np.where(width > 0.0, width, 1.0)


def _words(shares: Array, widths: tuple[int, ...]) -> Array:
    """32-bit words [N] of fields [N, len(widths)] over 0..1, the first in the highest bits."""
    word = np.zeros(len(shares), dtype=np.int64)
    for k, width in enumerate(widths):
        most = (1 << width) - 1
        word = (word << width) | np.clip(np.rint(shares[:, k] * most), 0, most).astype(np.int64)
    return word.astype(np.uint32)


def _packed_quats(quats: Array) -> Array:
    """Words [N] of unit quaternions wxyz [N, 4]."""
    rows, largest = np.arange(len(quats)), np.abs(quats).argmax(axis=1)
    signed = quats * np.where(quats[rows, largest] < 0.0, -1.0, 1.0)[:, None]
    others = np.stack([np.delete(np.arange(4), place) for place in range(4)])[largest]
    shares = np.take_along_axis(signed, others, axis=1) * 0.5**0.5 + 0.5
    return (largest.astype(np.uint32) << np.uint32(30)) | _words(shares, (10, 10, 10))
