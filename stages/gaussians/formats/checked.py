"""From what a splat file says to Gaussians: checks that every format shares, and reading and writing in one piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.errors import BadInput, first_line
from stages.files import replacing
from stages.gaussians.asset import Gaussians

IN_PLACE = "Free space or choose another place."
"""What to do when a splat cannot be written."""

Array = np.ndarray[Any, Any]

THINNEST = 1e-10
"""Standard deviation, in world units, that stands for the zero of a perfectly flat Gaussian, whose logarithm is not."""

TIGHTEST = 1032
"""Bytes that one compressed byte can become at most: deflate's limit, and far beyond what real splats reach in zstd."""


def checked_gaussians(
    path: Path, *, means: Array, quats: Array, log_scales: Array, logit_opacities: Array, sh: Array
) -> Gaussians:
    """Gaussians of float arrays [N, 3], wxyz [N, 4], [N, 3], [N], [N, K, 3]; quaternions come out normalised.

    Raises ``BadInput`` about ``path``: no Gaussians, values that are not finite, rotations of length zero.
    """
    if len(means) == 0:
        raise BadInput(f"{path} holds zero Gaussians.", "Export it again, or give another file.")
    named = {"positions": means, "rotations": quats, "scales": log_scales, "opacities": logit_opacities, "colours": sh}
    with np.errstate(over="ignore", invalid="ignore"):
        tables = {name: np.ascontiguousarray(values, dtype=np.float32) for name, values in named.items()}
    bad = {name: int((~np.isfinite(values)).sum()) for name, values in tables.items()}
    if any(bad.values()):
        where = ", ".join(f"{name} ({count})" for name, count in bad.items() if count)
        raise BadInput(
            f"{path} holds {sum(bad.values())} values that are NaN or infinite, in {where}.",
            "Remove those Gaussians in an editor.",
        )
    tensors = {name: torch.from_numpy(values) for name, values in tables.items()}
    lengths = tensors["rotations"].norm(dim=-1, keepdim=True)
    if (lengths == 0).any():
        raise BadInput(
            f"{path} holds {int((lengths == 0).sum())} rotations of length zero.",
            "Remove those Gaussians in an editor.",
        )
    return Gaussians(
        means=tensors["positions"],
        quats=tensors["rotations"] / lengths,
        log_scales=tensors["scales"],
        logit_opacities=tensors["opacities"],
        sh=tensors["colours"],
    )


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
