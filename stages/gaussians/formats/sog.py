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
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from stages.errors import BadInput
from stages.events import Caution, Note, Report, silent
from stages.gaussians.asset import Gaussians
from stages.gaussians.formats.checked import (
    Array,
    check_claim,
    checked_gaussians,
    cut_short,
    logits_of_bytes,
    read_bytes,
)
from stages.gaussians.transform import turn_upright
from stages.geometry.rotations import UPRIGHT

META = "meta.json"
UP = "animus3d_up"
"""The key under ``asset`` by which a file of ours says which of its axes points up."""

KNOWN = {"version", "asset", "count", "antialias", "means", "scales", "quats", "sh0", "shN"}
HARMONICS = (0, 3, 8, 15, 24)
CENTROIDS_A_ROW = 64
LARGEST_PART = 1 << 28
"""Bytes that one file in a zip may unpack to: its pictures are packed by themselves, of 90 million pixels at most."""


DAMAGED = (
    zipfile.BadZipFile, zlib.error, OSError, ValueError, TypeError, IndexError, AttributeError, SyntaxError, EOFError,
    NotImplementedError, OverflowError, RecursionError,
)  # fmt: skip
"""What zipfile, json, numpy and Pillow raise for a file that is none of theirs."""


def read_sog(path: Path, report: Report = silent) -> Gaussians:
    """Read and check a ``.sog`` bundle, a ``meta.json`` with its pictures beside it, or the folder of both.

    A file of ours that says which of its axes points up comes back y up. Raises ``BadInput``.
    """
    path = path / META if path.is_dir() else path
    content = read_bytes(path)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is counted and dropped
        return _read_content(path, content, report)


def _read_content(path: Path, content: bytes, report: Report) -> Gaussians:
    try:
        if content[:2] == b"PK":
            with zipfile.ZipFile(io.BytesIO(content)) as bundle:
                found = [name for name in bundle.namelist() if PurePosixPath(name).name == META]
                folder = found[0].removesuffix(META) if found else ""
                return _read(path, lambda name: _from_zip(bundle, folder + name), report)
        return _read(path, lambda name: content if name == META else _beside(path, name), report)
    except BadInput:
        raise
    except KeyError as error:
        raise BadInput(f"{path} is not a SOG file: it lacks {error}.", "Export it again.") from None
    except DAMAGED:
        raise cut_short(path, "SOG") from None


def is_sog(path: Path) -> bool:
    """Whether ``path`` is a SOG's ``meta.json``, under whatever name, or a folder with one."""
    file = path / META if path.is_dir() else path
    if file.suffix.lower() != ".json" or not file.is_file():
        return False
    try:
        meta = json.loads(file.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(meta, dict) and {"means", "quats"} <= meta.keys()


def _from_zip(bundle: zipfile.ZipFile, name: str) -> bytes:
    size = bundle.getinfo(name).file_size
    if size > LARGEST_PART:
        raise ValueError(name)
    with bundle.open(name) as part:
        return part.read(size)  # read() unpacks whatever is there before it compares


def _beside(path: Path, name: str) -> bytes:
    if Path(name).name != name:
        raise ValueError(name)  # only from its own folder
    return read_bytes(path.with_name(name))


def _read(path: Path, part: Callable[[str], bytes], report: Report) -> Gaussians:
    meta: dict[str, Any] = json.loads(part(META).decode("utf-8-sig"))
    if meta.get("version", 1) not in (1, 2):
        raise BadInput(f"{path} is SOG of version {meta['version']}; 1 and 2 are read.", "Export it as version 2.")
    if unused := sorted(meta.keys() - KNOWN):
        report(Caution(f"{path} has {', '.join(unused)}, which are not used."))
    if meta.get("antialias"):
        report(Note(f"{path} was trained for an anti-aliasing renderer; that flag is not used."))
    count = int(meta["count"] if "version" in meta else meta["means"]["shape"][0])
    if count < 1:
        raise BadInput(f"{path} holds zero Gaussians.", "Export it again, or give another file.")

    def table(name: str) -> Array:
        """Bytes [count, 4] of a picture."""
        pixels = _picture(part(name))
        check_claim(path, count, count, pixels.shape[0] * pixels.shape[1])
        return pixels.reshape(-1, 4)[:count].copy()  # not the whole of a picture that is too large

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
    gaussians = checked_gaussians(
        path,
        means=np.sign(logged) * np.expm1(np.abs(logged)),
        quats=_quats(path, table(meta["quats"]["files"][0])),
        log_scales=values("scales", table(meta["scales"]["files"][0])[:, :3]),
        logit_opacities=opacity,
        sh=np.concatenate(sh, axis=1),
        report=report,
    )
    about = meta.get("asset")
    up = about.get(UP) if isinstance(about, dict) else None
    return turn_upright(gaussians, up) if up in UPRIGHT else gaussians


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
        raise BadInput(f"{path} has a palette of {width} harmonics; 3, 8, 15 or 24 are expected.", "Export it again.")
    palette = centroids[:, : CENTROIDS_A_ROW * width, :3].reshape(-1, width, 3)
    label = labels[:, 0].astype(np.int64) + 256 * labels[:, 1].astype(np.int64)
    return palette[label]
