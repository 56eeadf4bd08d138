"""NeRF's ``transforms.json``: cameras as world-from-camera matrices in OpenGL's convention, and where the photos are.

Fields as in NeRF (Mildenhall et al. 2020) and nerfstudio: ``camera_angle_x`` or ``fl_x fl_y cx cy w h``, for all frames
or in each; ``frames[i].file_path`` (with or without an ending) and ``frames[i].transform_matrix``.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from stages.cameras import Camera
from stages.captures.capture import Capture, PhotoView, checked_capture, checked_intrinsics, checked_viewmat
from stages.errors import BadInput, first_line

NAMES = ("transforms.json", "transforms_train.json", "transforms_test.json")
ENDINGS = ("", ".png", ".jpg", ".jpeg", ".JPG", ".webp")
PERSPECTIVE = ("PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE", "OPENCV", "SIMPLE_RADIAL", "RADIAL", "FULL_OPENCV")
DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
MAX_BYTES = 100_000_000
OPENGL_TO_OPENCV = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))


def find_transforms(folder: Path) -> list[Path]:
    """``transforms.json`` of a folder, else its train and test files that exist."""
    found = [folder / name for name in NAMES if (folder / name).is_file()]
    return found[:1] if found and found[0].name == NAMES[0] else found


def read_transforms(files: list[Path]) -> Capture:
    """The capture that one or several files describe; views of a file named ``*_test.json`` are its test split.

    Raises:
        BadInput: unreadable JSON, no frames, a pose or intrinsics that are none, lens distortion, too few views.
    """
    views: list[PhotoView] = []
    for file in files:
        document = _load(file)
        frames = document.get("frames")
        if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
            raise BadInput(f"{file} has no list of frames.", "It must be a NeRF transforms.json.")
        test = file.stem.endswith("_test")
        views += [_view(file, document, frame, index, test) for index, frame in enumerate(frames)]
    empty = torch.zeros(0, 3)
    return checked_capture(views, empty, empty, " and ".join(str(file) for file in files))


def _load(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise BadInput(f"{file} is larger than {MAX_BYTES // 1_000_000} MB: no transforms.json.")
        document = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{file} cannot be read as JSON: {first_line(error)}.") from None
    if not isinstance(document, dict):
        raise BadInput(f"{file} is not a JSON object.", "It must be a NeRF transforms.json.")
    return document


def _view(file: Path, document: dict[str, Any], frame: dict[str, Any], index: int, test: bool) -> PhotoView:
    where = f"{file}, frame {index}"
    name = frame.get("file_path")
    if not isinstance(name, str) or not name:
        raise BadInput(f"{where} names no picture (file_path).")
    values = {**document, **frame}
    if any(_number(values, key, where, 0.0) != 0.0 for key in DISTORTION):
        raise BadInput(
            f"{where}: the photos have lens distortion ({', '.join(k for k in DISTORTION if values.get(k))}).",
            "Undistort them first, for example with: colmap image_undistorter",
        )
    model = values.get("camera_model", PERSPECTIVE[0])
    if model not in PERSPECTIVE or values.get("is_fisheye"):
        raise BadInput(f"{where}: the camera is no pinhole (camera_model {model!r}).", "Undistort the photos first.")
    path = _picture(file.parent, name)
    width, height = _size(values, path, where)
    return PhotoView(
        path=path,
        camera=Camera(
            viewmat=_viewmat(frame, where), K=_intrinsics(values, width, height, where), width=width, height=height
        ),
        test=test,
    )


def _viewmat(frame: dict[str, Any], where: str) -> torch.Tensor:
    try:
        world_from_camera = torch.tensor(frame["transform_matrix"], dtype=torch.float64)
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise BadInput(f"{where} has no transform_matrix of 4 x 4 numbers.") from None
    checked_viewmat(world_from_camera, where)  # before inverting, so that a zero matrix is told as one
    return checked_viewmat(OPENGL_TO_OPENCV @ torch.linalg.inv(world_from_camera), where)


def _picture(folder: Path, name: str) -> Path:
    """The file that ``name`` means; the name itself where none exists, so that it can be reported."""
    candidates = [folder / f"{name}{ending}" for ending in ENDINGS]
    return next((path for path in candidates if path.is_file()), candidates[0])


def _size(values: dict[str, Any], path: Path, where: str) -> tuple[int, int]:
    """Pixels from ``w`` and ``h``, else from the picture itself."""
    if "w" in values and "h" in values:
        width, height = _number(values, "w", where), _number(values, "h", where)
    else:
        try:
            with Image.open(path) as picture:
                width, height = picture.size
        except FileNotFoundError:
            raise BadInput(f"There is no picture {path}, which {where} names.") from None
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise BadInput(f"{path} is not a picture that can be read: {first_line(error)}.") from None
    if min(width, height) < 1 or width != int(width) or height != int(height):
        raise BadInput(f"{where}: {width} x {height} is no size of a picture.")
    return int(width), int(height)


def _intrinsics(values: dict[str, Any], width: int, height: int, where: str) -> torch.Tensor:
    """Focal lengths, else fields of view; a missing y is that of x, a missing centre the picture's."""
    focal = {}
    for axis, length in (("x", width), ("y", height)):
        if f"fl_{axis}" in values:
            focal[axis] = _number(values, f"fl_{axis}", where)
        elif f"camera_angle_{axis}" in values:
            angle = _number(values, f"camera_angle_{axis}", where)
            if not 0.0 < angle < math.pi:
                raise BadInput(f"{where}: camera_angle_{axis} must lie between 0 and pi, not {angle:g}.")
            focal[axis] = 0.5 * length / math.tan(0.5 * angle)
    if not focal:
        raise BadInput(f"{where} has no camera: neither fl_x nor camera_angle_x.")
    fx, fy = focal.get("x", focal.get("y", 0.0)), focal.get("y", focal.get("x", 0.0))
    cx = _number(values, "cx", where, width / 2)
    cy = _number(values, "cy", where, height / 2)
    return checked_intrinsics(fx, fy, cx, cy, width, height, where)


def _number(values: dict[str, Any], key: str, where: str, default: float | None = None) -> float:
    value = values.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput(f"{where}: {key} must be a number, not {value!r}.")
    return float(value)
