"""One HTML file that plays a clip in any browser, from disk, without a network: ``player.html`` with the clip in it.

The clip is quantised, then gzipped, then base64. As differences from frame to frame: positions to 16 bits within the
clip's box, and to 8 bits the axes' rotations, the logarithms of how much each axis is stretched, and, where harmonics
turn with them, the neighbourhoods' rotations. Scales at rest, opacities and colours once. The page names each array's
range, shape and width in its header, and nothing else is needed to read it (``decode`` does here what the page does).
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from stages.exporting.recording import Recording
from stages.gaussians import Frames
from stages.gaussians.sh import sh0_to_rgb
from stages.geometry.rotations import continuous_quaternions
from stages.raster.ground import SHADES, Ground

TEMPLATE = Path(__file__).parent / "player.html"
THINNEST = 1e-30
"""Standard deviation below which there is no logarithm to speak of."""

COMPRESSION = 6
"""gzip's level: 9 is slower and a percent smaller."""


def player_page(recording: Recording) -> str:
    """The page that plays ``recording``, which must have at least one frame."""
    header, payload = encode(recording)
    data = json.dumps(header).replace("<", "\\u003c")  # so that no title can end the script element
    page = TEMPLATE.read_text(encoding="utf-8")
    for mark, value in (  # the last one in the page first: a title may look like a mark
        ("{{PAYLOAD}}", base64.b64encode(payload).decode("ascii")),
        ("{{HEADER}}", data),
        ("{{TITLE}}", html.escape(recording.title)),
    ):
        page = page.replace(mark, value, 1)
    return page


def encode(recording: Recording) -> tuple[dict[str, Any], bytes]:
    """The header and the gzipped arrays of ``recording``."""
    frames, asset = recording.frames, recording.frames.asset
    arrays = [
        _quantised("positions", frames.means, bits=16, delta=True),
        _quantised("rotations", continuous_quaternions(frames.quats), bits=8, delta=True, span=(-1.0, 1.0)),
        _quantised("log_scales", asset.log_scales, bits=16),
        _stretches(frames),
        _quantised("opacities", asset.opacities, bits=8, span=(0.0, 1.0)),
        _quantised("colors", sh0_to_rgb(asset.sh[:, 0]), bits=16),
    ]
    if asset.sh_degree:
        arrays += [
            _quantised("turns", continuous_quaternions(frames.rotations), bits=8, delta=True, span=(-1.0, 1.0)),
            _quantised("harmonics", asset.sh[:, 1:].flatten(1), bits=8),
        ]
    header = {
        "title": recording.title,
        "credit": recording.credit,
        "fps": recording.fps,
        "frames": frames.num_frames,
        "gaussians": asset.num_gaussians,
        "sh_degree": asset.sh_degree,
        "body": _cylinder(frames),
        "ground": None if recording.ground is None else _ground(recording.ground),
        "arrays": [entry for entry, _ in arrays],
    }
    return header, gzip.compress(b"".join(data for _, data in arrays), COMPRESSION, mtime=0)


def _ground(ground: Ground) -> dict[str, Any]:
    """What the page draws of a ground: as ``stages.raster.ground`` does, with a coarser shadow."""
    shades = [{"reach": shade.reach, "blur": shade.blur} for shade in SHADES]
    return {**asdict(ground), "shades": shades}


def _stretches(frames: Frames) -> tuple[dict[str, Any], bytes]:
    """Logarithms of how much each axis is stretched. A step falls on zero: what keeps its size keeps it exactly."""
    stretches = frames.scales.clamp(min=THINNEST).log() - frames.asset.log_scales.clamp(min=math.log(THINNEST))
    most = float(stretches.abs().max())
    return _quantised("stretches", stretches, bits=8, delta=True, span=(-most * 128 / 127, most))


def _cylinder(frames: Frames) -> dict[str, Any]:
    """The box that the body passes through: its centre, half its height, and the radius of the upright cylinder about
    it."""
    means = frames.means[:, frames.asset.body].double()
    low, high = means.amin(dim=(0, 1)), means.amax(dim=(0, 1))
    centre = 0.5 * (low + high)
    around = float((means - centre)[..., [0, 2]].norm(dim=-1).max())
    size = around or float(frames.scales.max())
    return {"centre": centre.tolist(), "half": 0.5 * float(high[1] - low[1]), "around": size}


def _quantised(
    name: str, values: Tensor, *, bits: int, delta: bool = False, span: tuple[float, float] | None = None
) -> tuple[dict[str, Any], bytes]:
    """``values`` [..., D] as integers: one range a column (or ``span``), column by column, low bytes before high ones.

    Column by column and byte plane by byte plane, neighbouring bytes are alike, which is what gzip needs. ``delta``
    stores each frame of [T, N, D] as the difference from the one before, modulo the integer's size.
    """
    table = values.detach().cpu().double().numpy()
    columns = table.shape[-1] if table.ndim > 1 else 1
    table = table.reshape(table.shape[0] if delta else 1, -1, columns)  # [T or 1, N, D]
    low, high = (table.min((0, 1)), table.max((0, 1))) if span is None else (np.full(columns, s) for s in span)
    steps = 2**bits - 1
    step = np.where(high > low, (high - low) / steps, 1.0)
    integers = np.rint((table - low) / step).clip(0, steps).astype(np.int64)
    if delta:
        integers = np.diff(integers, axis=0, prepend=0) % (steps + 1)
    planes = [(integers >> shift & 255).astype(np.uint8).transpose(0, 2, 1) for shift in range(0, bits, 8)]
    scale = {"low": low.tolist(), "step": step.tolist()}
    entry = {"name": name, "shape": list(table.shape), "bits": bits, "delta": delta, **scale}
    return entry, b"".join(plane.tobytes() for plane in planes)


def decode(header: dict[str, Any], payload: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """Name -> float64 [T or 1, N, D] of what ``encode`` made: the readable twin of the page's reader."""
    raw = np.frombuffer(gzip.decompress(payload), np.uint8)
    arrays, offset = {}, 0
    for entry in header["arrays"]:
        times, num, columns = entry["shape"]
        size = times * num * columns
        integers = np.zeros(size, dtype=np.int64)
        for shift in range(0, entry["bits"], 8):
            integers += raw[offset : offset + size].astype(np.int64) << shift
            offset += size
        table = integers.reshape(times, columns, num).transpose(0, 2, 1)
        if entry["delta"]:
            table = table.cumsum(0) % 2 ** entry["bits"]
        arrays[entry["name"]] = np.array(entry["low"]) + np.array(entry["step"]) * table
    return arrays
