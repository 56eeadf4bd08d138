"""NeRF's ``transforms.json``: cameras as world-from-camera matrices in OpenGL's convention, and where the photos are.

Fields as in NeRF (Mildenhall et al. 2020) and nerfstudio: ``camera_angle_x`` or ``fl_x fl_y cx cy w h``, for all frames
or in each; ``frames[i].file_path`` (with or without an ending), ``mask_path`` and ``transform_matrix``; lenses by
``camera_model`` and ``k1 k2 k3 k4 p1 p2``. ``k4`` to ``k6`` of a lens that is no fisheye are those of OpenCV's rational
model, as COLMAP's FULL_OPENCV has them.
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image

from stages.cameras import Camera
from stages.captures.capture import (
    Capture,
    PhotoView,
    checked_capture,
    checked_intrinsics,
    checked_viewmat,
    pinhole_and_lens,
)
from stages.captures.files import find_picture, picture_folders, plain_name, read_text
from stages.errors import BadInput, first_line
from stages.events import Caution, Report, silent
from stages.gaussians.formats.ply_file import open_ply

NAMES = ("transforms.json", "transforms_train.json", "transforms_test.json")
PERSPECTIVE = ("PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE", "OPENCV", "SIMPLE_RADIAL", "RADIAL", "FULL_OPENCV")
FISHEYE = ("OPENCV_FISHEYE", "FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
BROWN = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
"""Coefficients of the lens in OpenCV's order; of a fisheye they are k1 to k4."""
CAMERA = ("w", "h", "fl_x", "fl_y", "cx", "cy", "camera_angle_x", "camera_angle_y", "camera_model", "is_fisheye")
USED = {*CAMERA, *BROWN, "frames", "file_path", "mask_path", "transform_matrix", "ply_file_path", "test_filenames"}
HARMLESS = {
    "applied_transform", "applied_scale", "orientation_override", "auto_scale_poses_override", "aabb_scale", "aabb",
    "scale", "offset", "colmap_im_id", "sharpness", "rotation", "train_filenames", "val_filenames", "n_frames", "up",
    "camera_label", "timestamp", "image_id", "from_na", "enable_depth_loading", "integer_depth_scale", "camera",
}  # fmt: skip
"""Fields that say nothing of what is fitted."""
MAX_BYTES = 100_000_000
OPENGL_TO_OPENCV = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))


def find_transforms(folder: Path) -> list[Path]:
    """``transforms.json`` of a folder, else its train and test files that exist."""
    found = [folder / name for name in NAMES if (folder / name).is_file()]
    return found[:1] if found and found[0].name == NAMES[0] else found


def read_transforms(files: list[Path], report: Report = silent) -> Capture:
    """The capture that one or several files describe. Views of a file named ``*_test.json`` are its test split, and
    those that its ``test_filenames`` lists. Points are those of its ``ply_file_path``, if there are any.

    Raises:
        BadInput: unreadable JSON, no frames, a pose or intrinsics that are none, a lens that OpenCV does not know, too
            few views.
    """
    views: list[PhotoView] = []
    points, colors = torch.zeros(0, 3), torch.zeros(0, 3)
    for file in files:
        document = _load(file)
        frames = document.get("frames")
        if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
            raise BadInput(f"{file} has no list of frames.", "It must be a NeRF transforms.json.")
        _tell_unused(file, document, frames, report)
        listed = document.get("test_filenames")
        listed = listed if isinstance(listed, list) else []
        kept = {PurePosixPath(plain_name(name)).name for name in listed if isinstance(name, str)}
        for index, frame in enumerate(frames):
            view = _view(file, document, frame, index)
            test = file.stem.endswith("_test") or view.path.name in kept
            views.append(replace(view, test=test))
        if isinstance(document.get("ply_file_path"), str):
            points, colors = _points(file, document["ply_file_path"], report)
    return checked_capture(views, points, colors, " and ".join(str(file) for file in files))


def _tell_unused(file: Path, document: dict[str, Any], frames: list[dict[str, Any]], report: Report) -> None:
    """Name the fields that say something which is not used, such as depth."""
    names = {*document, *(name for frame in frames for name in frame)}
    if unused := sorted(names - USED - HARMLESS):
        report(Caution(f"{file} has {', '.join(unused)}, which are not used."))
    lacking = [frame["mask_path"] for frame in frames if isinstance(frame.get("mask_path"), str)]
    lacking = [name for name in lacking if find_picture(name, [file.parent]) is None]
    if lacking:
        report(Caution(f"{file} names {len(lacking)} masks that are not there, {lacking[0]} first."))


def _points(file: Path, name: str, report: Report) -> tuple[torch.Tensor, torch.Tensor]:
    """Points [P, 3] and their colours in [0, 1]; none where the file is not there, which is said."""
    path = file.parent / plain_name(name)
    if not path.is_file():
        report(Caution(f"{file} names points in {name}, which is not there."))
        return torch.zeros(0, 3), torch.zeros(0, 3)
    data = open_ply(path)["vertex"].data
    fields = data.dtype.names or ()
    if not {"x", "y", "z"} <= set(fields):
        raise BadInput(f"{path}, which {file} names, has no points.")
    points = torch.from_numpy(np.stack([np.asarray(data[axis], np.float32) for axis in "xyz"], axis=-1))
    colors = torch.full_like(points, 0.5)
    if {"red", "green", "blue"} <= set(fields):
        rgb = [np.asarray(data[name], np.float32) for name in ("red", "green", "blue")]
        colors = torch.from_numpy(np.stack(rgb, axis=-1)) / 255.0
    finite = points.isfinite().all(dim=1)
    return points[finite], colors[finite].clamp(0.0, 1.0)


def _load(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise BadInput(f"{file} is larger than {MAX_BYTES // 1_000_000} MB: no transforms.json.")
        document = json.loads(read_text(file))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{file} cannot be read as JSON: {first_line(error)}.") from None
    if not isinstance(document, dict):
        raise BadInput(f"{file} is not a JSON object.", "It must be a NeRF transforms.json.")
    return document


def _view(file: Path, document: dict[str, Any], frame: dict[str, Any], index: int) -> PhotoView:
    where = f"{file}, frame {index}"
    name = frame.get("file_path")
    if not isinstance(name, str) or not name:
        raise BadInput(f"{where} names no picture (file_path).")
    values = {**document, **frame}
    model = values.get("camera_model", PERSPECTIVE[0])
    fisheye = model in FISHEYE or bool(values.get("is_fisheye"))
    if model not in PERSPECTIVE + FISHEYE:
        raise BadInput(f"{where}: the camera is no pinhole (camera_model {model!r}).", "Undistort the photos first.")
    bend = tuple(_number(values, key, where, 0.0) for key in (BROWN if not fisheye else ("k1", "k2", "k3", "k4")))
    path = _picture(file.parent, name)
    width, height = _size(values, path, where)
    K, lens = pinhole_and_lens(_intrinsics(values, width, height, where), (width, height), fisheye, bend)
    named = frame.get("mask_path")
    return PhotoView(
        path=path,
        camera=Camera(viewmat=_viewmat(frame, where), K=K, width=width, height=height),
        test=False,
        lens=lens,
        mask=find_picture(named, [file.parent]) if isinstance(named, str) and named else None,
    )


def _viewmat(frame: dict[str, Any], where: str) -> torch.Tensor:
    try:
        world_from_camera = torch.tensor(frame["transform_matrix"], dtype=torch.float64)
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError):
        raise BadInput(f"{where} has no transform_matrix of 4 x 4 numbers.") from None
    checked_viewmat(world_from_camera, where)  # before inverting, so that a zero matrix is told as one
    return checked_viewmat(OPENGL_TO_OPENCV @ torch.linalg.inv(world_from_camera), where)


def _picture(folder: Path, name: str) -> Path:
    """The file that ``name`` means; the name itself where none exists, so that it can be reported."""
    return find_picture(name, [folder, *picture_folders([folder])]) or folder / plain_name(name)


def _size(values: dict[str, Any], path: Path, where: str) -> tuple[int, int]:
    """Pixels from ``w`` and ``h``, else from the picture itself."""
    if "w" in values and "h" in values:
        width, height = _number(values, "w", where), _number(values, "h", where)
    else:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # its size is checked by read_capture
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
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise BadInput(f"{where}: {key} must be a number, not {value!r}.")
    return float(value)
