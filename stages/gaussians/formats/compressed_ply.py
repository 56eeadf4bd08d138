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
from plyfile import PlyData

from stages.errors import BadInput, first_line
from stages.gaussians.asset import Gaussians
from stages.gaussians.formats.checked import Array, checked_gaussians, logits_of_bytes
from stages.gaussians.sh import C0

CHUNK = 256
PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")


def unpack_ply(path: Path, ply: PlyData) -> Gaussians:
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
            means=between("", "xyz", _bits(words["packed_position"], (11, 10, 11))),
            quats=_quats(words["packed_rotation"]),
            log_scales=between("scale_", "xyz", _bits(words["packed_scale"], (11, 10, 11))),
            logit_opacities=logits_of_bytes(255.0 * color[:, 3]),
            sh=np.concatenate([(rgb[:, None] - 0.5) / C0, _harmonics(path, ply, num)], axis=1),
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
