"""PlayCanvas's SOG: tables of Gaussians as lossless pictures, one pixel a Gaussian; a ``.sog`` zip, or its meta.json.

``meta.json`` names the pictures of ``means`` (low and high byte of xyz as 16 bits between bounds, then
``sign(v) (exp |v| - 1)``), ``scales`` (logarithms), ``quats`` (three smallest of wxyz over -1/sqrt 2..1/sqrt 2, and
252 + the index of the largest), ``sh0`` (colours and opacity) and ``shN`` (``labels``: which of the ``centroids``, 64
to a row, K pixels each). Version 2 looks bytes up in a ``codebook`` of 256 values; version 1, without a version, puts
them evenly between ``mins`` and ``maxs``.
Source: "The SOG Format", PlayCanvas developer manual.
"""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stages.errors import BadInput
from stages.gaussians.asset import Gaussians
from stages.gaussians.formats.checked import (
    Array,
    check_claim,
    checked_gaussians,
    cut_short,
    logits_of_bytes,
    read_bytes,
)

HARMONICS = (0, 3, 8, 15)
CENTROIDS_A_ROW = 64
LARGEST_PART = 1 << 31
"""Bytes that one file in a zip may unpack to."""


def read_sog(path: Path) -> Gaussians:
    """Read and check a ``.sog`` bundle, or a ``meta.json`` with its pictures beside it. Raises ``BadInput``."""
    content = read_bytes(path)
    try:
        if content[:2] == b"PK":
            with zipfile.ZipFile(io.BytesIO(content)) as bundle:
                return _read(path, lambda name: _from_zip(bundle, name))
        return _read(path, lambda name: content if name == "meta.json" else _beside(path, name))
    except BadInput:
        raise
    except KeyError as error:
        raise BadInput(f"{path} is not a SOG file: it lacks {error}.", "Export it again.") from None
    except (zipfile.BadZipFile, OSError, ValueError, TypeError, IndexError, SyntaxError, EOFError, NotImplementedError):
        raise cut_short(path, "SOG") from None


def _from_zip(bundle: zipfile.ZipFile, name: str) -> bytes:
    if bundle.getinfo(name).file_size > LARGEST_PART:
        raise ValueError(name)
    return bundle.read(name)


def _beside(path: Path, name: str) -> bytes:
    if Path(name).name != name:
        raise ValueError(name)  # only from its own folder
    return read_bytes(path.with_name(name))


def _read(path: Path, part: Callable[[str], bytes]) -> Gaussians:
    meta: dict[str, Any] = json.loads(part("meta.json"))
    count = int(meta["count"] if "version" in meta else meta["means"]["shape"][0])
    if count < 1:
        raise BadInput(f"{path} holds zero Gaussians.", "Export it again, or give another file.")

    def table(name: str) -> Array:
        """Bytes [count, 4] of a picture."""
        pixels = _picture(part(name))
        check_claim(path, count, count, pixels.shape[0] * pixels.shape[1])
        return pixels.reshape(-1, 4)[:count]

    def values(section: str, pixels: Array) -> Array:
        """What bytes [..., C] of a section stand for."""
        about = meta[section]
        if "codebook" in about:
            return np.asarray(about["codebook"], np.float64)[pixels]
        low, high = (np.asarray(about[end], np.float64) for end in ("mins", "maxs"))
        return low + pixels / 255.0 * (high - low)

    low, high = (table(name)[:, :3].astype(np.float64) for name in meta["means"]["files"])
    between = (low + 256.0 * high) / 65535.0
    mins, maxs = (np.asarray(meta["means"][end], np.float64) for end in ("mins", "maxs"))
    logged = mins + between * (maxs - mins)
    color = table(meta["sh0"]["files"][0])
    if "codebook" in meta["sh0"]:
        dc, opacity = values("sh0", color[:, :3]), logits_of_bytes(color[:, 3])
    else:
        both = values("sh0", color)
        dc, opacity = both[:, :3], both[:, 3]
    sh = [dc[:, None]]
    if "shN" in meta:
        centroids, labels = (meta["shN"]["files"][i] for i in range(2))
        sh.append(values("shN", _harmonics(path, _picture(part(centroids)), table(labels))))
    return checked_gaussians(
        path,
        means=np.sign(logged) * np.expm1(np.abs(logged)),
        quats=_quats(path, table(meta["quats"]["files"][0])),
        log_scales=values("scales", table(meta["scales"]["files"][0])[:, :3]),
        logit_opacities=opacity,
        sh=np.concatenate(sh, axis=1),
    )


def _picture(content: bytes) -> Array:
    """Pixels [H, W, 4]. A picture that claims an absurd size is an error before it is unpacked."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise ValueError("size") from None


def _quats(path: Path, pixels: Array) -> Array:
    """wxyz [N, 4] of bytes [N, 4]."""
    largest = pixels[:, 3].astype(np.int64) - 252
    if (largest < 0).any():
        raise BadInput(f"{path} holds {int((largest < 0).sum())} rotations that are none.", "Export it again.")
    others = (pixels[:, :3] / 255.0 - 0.5) * 2.0**0.5
    rest = np.sqrt(np.maximum(1.0 - (others**2).sum(axis=1), 0.0))
    quats = np.empty((len(pixels), 4))
    for place in range(4):
        rows = largest == place
        quats[rows] = np.insert(others[rows], place, rest[rows], axis=1)
    return quats


def _harmonics(path: Path, centroids: Array, labels: Array) -> Array:
    """Bytes [N, K, 3] of each Gaussian's palette entry."""
    width = centroids.shape[1] // CENTROIDS_A_ROW
    if width not in HARMONICS:
        raise BadInput(f"{path} has a palette of {width} harmonics; 3, 8 or 15 are expected.", "Export it again.")
    palette = centroids[:, : CENTROIDS_A_ROW * width, :3].reshape(-1, width, 3)
    label = labels[:, 0].astype(np.int64) + 256 * labels[:, 1].astype(np.int64)
    return palette[label]
