"""Writing PlayCanvas's SOG, version 2: see ``sog.py`` for the layout.

Values become bytes by a codebook of 256 values, found by Lloyd's algorithm in one dimension (Lloyd 1982). Harmonics
become entries of a palette, found by k-means over their vectors, whose numbers go through a codebook too.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.spatial import cKDTree

from stages.gaussians.asset import Gaussians
from stages.gaussians.formats.checked import Array, as_bytes, write_bytes
from stages.gaussians.formats.sog import CENTROIDS_A_ROW, META, UP
from stages.gaussians.transform import lay

ROUNDS = 8
"""Of Lloyd's algorithm; later ones gain hardly anything [ours]."""

PALETTE = (1024, 65536)
"""Entries of the palette of harmonics: an eighth of the Gaussians, within these limits; all of them where these are
fewer. PlayCanvas takes about as many [ours]."""

MOST_FOR_TREE = 9
"""Numbers of a vector: harmonics of degree 1. [ours]"""

ROWS = 2048
"""Vectors whose distances are held together."""

SMALLEST_DATE = (1980, 1, 1, 0, 0, 0)
"""Of the files in the zip: the same asset becomes the same bytes."""


def write_sog(path: Path, gaussians: Gaussians, *, up: str = "y") -> None:
    """Write a ``.sog`` bundle, Gaussians in their own order. ``meta.json`` says which axis ``up`` points up where it is
    not y. Raises ``CannotWrite``."""
    gaussians = lay(gaussians, up)
    means, log_scales, quats, sh = (
        tensor.detach().cpu().double().numpy()
        for tensor in (gaussians.means, gaussians.log_scales, gaussians.quats, gaussians.sh)
    )
    alpha = as_bytes(255.0 * gaussians.opacities.detach().cpu().numpy())[:, None]
    parts: dict[str, bytes] = {}

    def picture(name: str, rows: Array, width: int | None = None) -> str:
        parts[f"{name}.webp"] = _webp(rows, width or 4 * math.ceil(math.sqrt(len(rows)) / 4))
        return f"{name}.webp"

    logged = np.sign(means) * np.log1p(np.abs(means))
    low, high = logged.min(axis=0), logged.max(axis=0)
    words = np.rint((logged - low) / np.where(high > low, high - low, 1.0) * 65535.0).astype(np.int64)
    scale_bytes, scale_book = _coded(log_scales)
    color_bytes, color_book = _coded(sh[:, 0])
    meta: dict[str, Any] = {
        "version": 2,
        "asset": {"generator": "animus3d"} | ({} if up == "y" else {UP: up}),
        "count": len(means),
        "antialias": False,
        "means": {
            "mins": low.tolist(),
            "maxs": high.tolist(),
            "files": [picture("means_l", words & 255), picture("means_u", words >> 8)],
        },
        "scales": {"codebook": scale_book, "files": [picture("scales", scale_bytes)]},
        "quats": {"files": [picture("quats", _quat_bytes(quats))]},
        "sh0": {
            "codebook": color_book,
            "files": [picture("sh0", np.concatenate([color_bytes, alpha], axis=1))],
        },
    }
    if (count := sh.shape[1] - 1) > 0:
        entries, labels = _palette(sh[:, 1:].reshape(len(sh), -1))
        entry_bytes, book = _coded(entries.reshape(-1, 3))
        meta["shN"] = {
            "count": len(entries),
            "bands": math.isqrt(count),
            "codebook": book,
            "files": [
                picture("shN_centroids", entry_bytes, CENTROIDS_A_ROW * count),
                picture("shN_labels", np.stack([labels & 255, labels >> 8, 0 * labels], axis=1)),
            ],
        }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as bundle:  # stored: pictures are compressed already
        for name, data in {META: json.dumps(meta).encode(), **parts}.items():
            bundle.writestr(zipfile.ZipInfo(name, SMALLEST_DATE), data)
    write_bytes(path, content.getvalue())


def _webp(rows: Array, width: int) -> bytes:
    """A lossless picture of bytes [N, 3 or 4], ``width`` pixels wide; the rest of the last rows is opaque black."""
    pixels = np.zeros((-(-len(rows) // width) * width, 4), np.uint8)
    pixels[:, 3] = 255
    pixels[: len(rows), : rows.shape[1]] = rows
    content = io.BytesIO()
    Image.fromarray(pixels.reshape(-1, width, 4)).save(
        content, "WEBP", lossless=True, exact=True, quality=100, method=4
    )
    return content.getvalue()


def _coded(values: Array) -> tuple[Array, list[float]]:
    """Bytes of the shape of ``values``, and the 256 numbers, in rising order, that they stand for."""
    flat = np.sort(values.reshape(-1))
    distinct = np.unique(flat)
    if len(distinct) <= 256:
        book = np.pad(distinct, (0, 256 - len(distinct)), mode="edge")
    else:
        total = np.concatenate([[0.0], flat.cumsum()])
        # between even steps and even counts: extremes matter, and so does what is common
        even, common = np.linspace(flat[0], flat[-1], 128), flat[np.linspace(0, len(flat) - 1, 128).astype(int)]
        book = np.sort(np.concatenate([even, common]))
        for _ in range(ROUNDS):
            edges = np.searchsorted(flat, 0.5 * (book[1:] + book[:-1]))
            starts, ends = np.concatenate([[0], edges]), np.concatenate([edges, [len(flat)]])
            counts = ends - starts
            book = np.where(counts > 0, (total[ends] - total[starts]) / np.maximum(counts, 1), book)
    book = np.array([float(f"{value:.6g}") for value in book])  # as it is written: short
    return np.searchsorted(0.5 * (book[1:] + book[:-1]), values).astype(np.uint8), book.tolist()


def _quat_bytes(quats: Array) -> Array:
    """Bytes [N, 4] of unit quaternions wxyz [N, 4]: the three smallest components, and 252 + which is the largest."""
    rows, largest = np.arange(len(quats)), np.abs(quats).argmax(axis=1)
    signed = quats * np.where(quats[rows, largest] < 0.0, -1.0, 1.0)[:, None]
    others = np.stack([np.delete(np.arange(4), place) for place in range(4)])[largest]
    shares = np.take_along_axis(signed, others, axis=1) * 0.5**0.5 + 0.5
    return np.concatenate([as_bytes(255.0 * shares), (252 + largest)[:, None].astype(np.uint8)], axis=1)


def _palette(vectors: Array) -> tuple[Array, Array]:
    """Entries [P, D] and the number of the entry of each of ``vectors`` [N, D]: k-means from evenly drawn vectors."""
    distinct, labels = np.unique(vectors, axis=0, return_inverse=True)
    size = int(np.clip(len(vectors) // 8, *PALETTE))
    if len(distinct) <= size:
        return distinct, labels.reshape(-1)
    entries = distinct[np.random.default_rng(0).permutation(len(distinct))[:size]]
    for _ in range(ROUNDS):
        labels = _nearest(entries, vectors)
        counts = np.bincount(labels, minlength=size)
        sums = np.stack([np.bincount(labels, weights=column, minlength=size) for column in vectors.T], axis=1)
        entries = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], entries)
    return entries, _nearest(entries, vectors)


def _nearest(entries: Array, vectors: Array) -> Array:
    """Of each of ``vectors`` [N, D] the number of the nearest of ``entries`` [P, D]: by a tree, or, where that would
    look at nearly all of them, by products."""
    if entries.shape[1] <= MOST_FOR_TREE:
        return np.asarray(cKDTree(entries).query(vectors)[1])
    half = 0.5 * (entries * entries).sum(axis=1)
    return np.concatenate(
        [(half - vectors[start : start + ROWS] @ entries.T).argmin(axis=1) for start in range(0, len(vectors), ROWS)]
    )
