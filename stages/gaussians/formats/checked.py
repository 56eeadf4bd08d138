"""From what a splat file says to Gaussians: checks that every format shares, and reading and writing in one piece."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.errors import BadInput, first_line
from stages.events import Caution, Report, silent
from stages.files import replacing
from stages.gaussians.asset import Gaussians

IN_PLACE = "Free space or choose another place."
"""What to do when a splat cannot be written."""

Array = np.ndarray[Any, Any]

THINNEST = 1e-10
"""Standard deviation, in world units, that stands for the zero of a perfectly flat Gaussian, whose logarithm is not."""

SOLID = 15.0
"""The logit of an opacity that a file gives as infinite: 3e-7 below 1."""

MOST_HARMONICS = 16
"""Coefficients of degree 3, which is the last that is kept."""

MOST_BAD = 0.5
"""Share of a file's Gaussians that may be dropped because they hold no numbers [ours]."""

FINEST = 1e-4
"""Bodies of this share of their distance from the origin are left where they are: float32 tells a thousandth of it."""

TIGHTEST = 1032
"""Bytes that one compressed byte can become at most: deflate's limit, and far beyond what real splats reach in zstd."""

USUAL = 32
"""Bytes that one compressed byte of a large splat can become: positions hardly shrink, so that real ones stay below
10. A file that claims more is a bomb [ours]."""

SMALL = 1 << 26
"""Bytes up to which a file may unpack to ``TIGHTEST`` times its size."""


def checked_gaussians(
    path: Path,
    *,
    means: Array,
    quats: Array,
    log_scales: Array,
    logit_opacities: Array,
    sh: Array,
    report: Report = silent,
) -> Gaussians:
    """Gaussians of float arrays [N, 3], wxyz [N, 4], [N, 3], [N], [N, K, 3]; quaternions come out normalised.

    An infinite logit of an opacity stands for solid (or, below zero, for invisible), a scale whose logarithm is minus
    infinite for flat. Gaussians with another value that is no number, or with a rotation of length zero, are dropped,
    and ``report`` is told how many and why. Harmonics beyond degree 3 are cut, positions in double that float32 cannot
    tell apart are moved to the origin; both are told.

    Raises ``BadInput`` about ``path``: no Gaussians, or most of them are of no use.
    """
    num = len(means)
    if num == 0:
        raise BadInput(f"{path} holds zero Gaussians.", "Export it again, or give another file.")
    if sh.shape[1] > MOST_HARMONICS:
        degree = math.isqrt(sh.shape[1]) - 1
        report(Caution(f"{path} has harmonics of degree {degree}; those beyond degree 3 are cut off."))
        sh = sh[:, :MOST_HARMONICS]
    logit_opacities = np.where(np.isinf(logit_opacities), np.sign(logit_opacities) * SOLID, logit_opacities)
    log_scales = np.where(np.isneginf(log_scales), math.log(THINNEST), log_scales)
    means = _near_origin(path, means, report)
    named = {"positions": means, "rotations": quats, "scales": log_scales, "opacities": logit_opacities, "colours": sh}
    with np.errstate(over="ignore", invalid="ignore"):
        tables = {name: np.array(values, dtype=np.float32, order="C") for name, values in named.items()}
    wrong = {name: ~np.isfinite(values).reshape(num, -1).all(axis=1) for name, values in tables.items()}
    lengths = torch.from_numpy(tables["rotations"]).norm(dim=-1, keepdim=True)
    zero = (lengths[:, 0] == 0.0).numpy() & ~wrong["rotations"]
    bad = np.logical_or.reduce([*wrong.values(), zero])
    if bad.any():
        why = [f"{name} ({int(rows.sum())})" for name, rows in wrong.items() if rows.any()]
        said = [f"values that are NaN or infinite in {', '.join(why)}"] if why else []
        said += [f"rotations of length zero ({int(zero.sum())})"] if zero.any() else []
        about = f"{int(bad.sum()):,} of {num:,} Gaussians of {path} have {' and '.join(said)}"
        if int(bad.sum()) > MOST_BAD * num:
            raise BadInput(f"{about}: too many to leave out.", "Export it again, or remove them in an editor.")
        report(Caution(f"{about}; they are dropped."))
        tables, lengths = {name: values[~bad] for name, values in tables.items()}, lengths[torch.from_numpy(~bad)]
    tensors = {name: torch.from_numpy(values) for name, values in tables.items()}
    return Gaussians(
        means=tensors["positions"],
        quats=tensors["rotations"] / lengths,
        log_scales=tensors["scales"],
        logit_opacities=tensors["opacities"],
        sh=tensors["colours"],
    )


def _near_origin(path: Path, means: Array, report: Report) -> Array:
    """``means``, moved so that the median is the origin where they lie too far out for float32 (georeferenced files),
    by whole units, so that the place can be found again."""
    finite = means[np.isfinite(means).all(axis=1)]
    if means.dtype != np.float64 or not len(finite):
        return means
    with np.errstate(over="ignore"):
        middle = np.median(finite, axis=0)
        spread = float(np.median(np.abs(finite - middle)))
    if not 0.0 < spread < float(np.abs(middle).max()) * FINEST:
        return means
    shift = np.rint(middle)
    where = ", ".join(f"{value:,.0f}" for value in shift)
    report(Caution(f"{path} lies too far from its origin for single precision; {where} was subtracted."))
    return means - shift


def log_scales_of(scales: Array) -> Array:
    """Logarithms of linear ``scales``; zeros become ``THINNEST``, negative ones NaN, which the checks then name."""
    with np.errstate(invalid="ignore"):
        return np.log(np.where(scales < 0, np.nan, np.maximum(scales, THINNEST)))


def logits_of_bytes(alphas: Array) -> Array:
    """Logits of opacities stored as bytes [N]. 0 and 255 stand a quarter of a step inside, where logits are finite."""
    alpha = np.clip(alphas.astype(np.float64), 0.25, 254.75) / 255.0
    return np.log(alpha / (1.0 - alpha))


def as_bytes(values: Array) -> Array:
    """``values`` rounded into 0..255."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def cut_short(path: Path, what: str) -> BadInput:
    """The error of a file that ends before what its header promises."""
    return BadInput(f"{path} is not a readable {what} file, or is cut short.", "Export or copy it again.")


def check_claim(path: Path, count: int, needed: int, available: int) -> None:
    """Raise ``BadInput`` where ``count`` Gaussians of ``needed`` bytes are promised and ``available`` is what there is.

    Called before anything of that size is allocated.
    """
    if needed > available:
        raise BadInput(
            f"{path} promises {count:,} Gaussians, more than its size can hold: it is cut short or damaged.",
            "Export or copy it again.",
        )


def unpacked_size(compressed: int) -> int:
    """Bytes that so many ``compressed`` ones may hold at most: what is promised beyond is not allocated."""
    return max(min(TIGHTEST * compressed, SMALL), USUAL * compressed)


def read_bytes(path: Path) -> bytes:
    """The whole file. Raises ``BadInput`` when it is missing or cannot be read."""
    if not path.is_file():
        raise BadInput(f"There is no file {path}.", "Check the path.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {first_line(error)}.") from None


def write_bytes(path: Path, content: bytes) -> None:
    """Write in one piece. Raises ``CannotWrite``."""
    with replacing(path, IN_PLACE) as temporary:
        temporary.write_bytes(content)
