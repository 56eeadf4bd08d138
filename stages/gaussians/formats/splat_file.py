"""The ``.splat`` layout of web viewers: 32 bytes a Gaussian, no header, degree-0 colour.

Little-endian: position 3 x float32, linear scales 3 x float32, displayed colour and opacity 4 x uint8, rotation wxyz
4 x uint8 as ``128 + 128 q``. The axes are those of whatever wrote the file; captures often have y pointing down.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages.errors import BadInput
from stages.events import Report, silent
from stages.gaussians.asset import Gaussians
from stages.gaussians.formats.checked import (
    as_bytes,
    checked_gaussians,
    log_scales_of,
    logits_of_bytes,
    read_bytes,
    write_bytes,
)
from stages.gaussians.sh import C0
from stages.gaussians.transform import lay

RECORD = np.dtype([("position", "<f4", 3), ("scales", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])


def read_splat_file(path: Path, report: Report = silent) -> Gaussians:
    """Read and check a ``.splat`` file. Raises ``BadInput``."""
    content = read_bytes(path)
    if len(content) % RECORD.itemsize:
        raise BadInput(
            f"{path} is not a .splat file, or is cut short: {len(content)} bytes are not a multiple of 32.",
            "Export or copy it again.",
        )
    table = np.frombuffer(content, dtype=RECORD)
    return checked_gaussians(
        path,
        means=table["position"],
        quats=(table["quat"].astype(np.float32) - 128.0) / 128.0,
        log_scales=log_scales_of(table["scales"]),
        logit_opacities=logits_of_bytes(table["rgba"][:, 3]),
        sh=((table["rgba"][:, None, :3] / 255.0) - 0.5) / C0,
        report=report,
    )


def write_splat_file(path: Path, gaussians: Gaussians, *, up: str = "y") -> None:
    """Write a ``.splat`` file, Gaussians in their own order; colours seen from afar (degree 0), clipped to [0, 1].

    ``up`` is the axis of the file that shall point up; nothing in the file can say so. Raises ``CannotWrite``.
    """
    gaussians = lay(gaussians, up)
    table = np.empty(gaussians.num_gaussians, dtype=RECORD)
    table["position"] = gaussians.means.detach().cpu()
    table["scales"] = gaussians.scales.detach().cpu()
    table["rgba"][:, :3] = as_bytes(255.0 * (0.5 + C0 * gaussians.sh[:, 0].detach().cpu().numpy()))
    table["rgba"][:, 3] = as_bytes(255.0 * gaussians.opacities.detach().cpu().numpy())
    table["quat"] = as_bytes(128.0 + 128.0 * gaussians.quats.detach().cpu().numpy())
    write_bytes(path, table.tobytes())
