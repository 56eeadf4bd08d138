"""One camera as a file: what ``still`` writes beside its picture, and what ``render`` and others read.

It is a camera path (``stages.cameras.path``) of one keyframe, with the size of its picture beside it ::

    {"width": 512, "height": 512, "background": [1, 1, 1],
     "keyframes": [{"time": 0, "azimuth": 30, "elevation": 15, "radius": 4.2, "fov": 35, "target": [0, 0.5, 0]}]}

Lengths are in the units of the asset's file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stages.cameras.camera import Camera
from stages.cameras.path import Framing, read_content, read_path
from stages.errors import BadInput
from stages.files import write_json

MOST_PX = 1 << 20
"""A picture with a longer side is none that anybody means."""


@dataclass(frozen=True)
class OrbitNumbers:
    """An upright camera as a person says it: where it stands around a target that it looks at."""

    azimuth_deg: float
    elevation_deg: float
    radius: float
    fov_deg: float  # along the shorter side of the picture
    target: tuple[float, float, float]

    @staticmethod
    def of(camera: Camera, near: Tensor) -> OrbitNumbers:
        """Those of ``camera``; the target is the point of its axis that is as far away as ``near`` [3]."""
        forward = camera.viewmat[2, :3].double().cpu()
        position = camera.position.double().cpu()
        radius = max(float((near.double().cpu() - position) @ forward), 1e-6)
        x, y, z = (float(part) for part in -forward)
        a, b, c = (float(part) for part in position + radius * forward)
        focal = float(camera.K[0, 0])
        return OrbitNumbers(
            azimuth_deg=math.degrees(math.atan2(x, z)),
            elevation_deg=math.degrees(math.asin(max(-1.0, min(1.0, y)))),
            radius=radius,
            fov_deg=math.degrees(2.0 * math.atan(0.5 * min(camera.width, camera.height) / focal)),
            target=(a, b, c),
        )


def write_camera(path: Path, camera: Camera, near: Tensor, background: Tensor | None = None) -> OrbitNumbers:
    """Write ``camera``, upright and in the units of the asset's file, to ``path``, replaced in one piece.

    Args:
        near: [3] the middle of what it looks at: how far away its target is.
        background: [3] colour of the picture; None: transparent.
    """
    numbers = OrbitNumbers.of(camera, near)
    keyframe = {
        "time": 0,
        "azimuth": _short(numbers.azimuth_deg),
        "elevation": _short(numbers.elevation_deg),
        "radius": _short(numbers.radius),
        "fov": _short(numbers.fov_deg),
        "target": [_short(value) for value in numbers.target],
    }
    colour = "transparent" if background is None else [round(float(value), 4) for value in background]
    write_json(path, {"width": camera.width, "height": camera.height, "background": colour, "keyframes": [keyframe]})
    return numbers


def read_camera(file: Path, framing: Framing) -> Camera:
    """The camera of ``file``: the first of it, where it is a path. In the units of the asset's file.

    Args:
        framing: what the file leaves out; where the file says the size of its picture, that one counts.

    Raises:
        BadInput: about the file, as ``read_path``.
    """
    size = file_size(file)
    if size is not None:
        framing = replace(framing, width=size[0], height=size[1])
    return read_path(file, framing, torch.zeros(1))[0]


def file_size(file: Path) -> tuple[int, int] | None:
    """Width and height that a camera file says, in pixels; None where it says none. Raises ``BadInput``."""
    content = read_content(file)
    sides: list[Any] = [content.get("width", content.get("w")), content.get("height", content.get("h"))]
    if sides == [None, None]:
        return None
    if not all(isinstance(side, (int, float)) and 1 <= side <= MOST_PX and side == int(side) for side in sides):
        raise BadInput(f"width and height of {file} are not whole numbers of pixels: {sides[0]!r}, {sides[1]!r}.")
    return int(sides[0]), int(sides[1])


def _short(value: float) -> float:
    """Seven digits, all that a float32 has: a file that people read."""
    return float(f"{value:.7g}") + 0.0
