"""COLMAP's sparse model as a capture: cameras, poses and coloured points, ``.bin`` or ``.txt``.

A model is a folder with ``cameras``, ``images`` and perhaps ``points3D``; the photos lie in ``images`` beside
``sparse``. COLMAP's camera frame is the project's own: x right, y down, z forward, poses camera-from-world. The
format is that of COLMAP's documentation, "Output Format"; pycolmap is not used because it never returns from a
``points3D.bin`` cut short.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stages.cameras import Camera
from stages.captures.capture import (
    Capture,
    PhotoView,
    checked_capture,
    checked_intrinsics,
    checked_viewmat,
    pinhole_and_lens,
)
from stages.captures.files import find_picture, picture_folders, read_text
from stages.errors import BadInput, first_line
from stages.geometry.rotations import quaternion_matrices

PLACES = (
    "sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse", ".", "0", "dense/sparse", "dense/0/sparse",
    "colmap/dense/0/sparse", "undistorted/sparse", "undistorted/sparse/0", "sparse/1", "colmap/0", "colmap",
    "distorted/sparse/0", "distorted/sparse", "model", "colmap_sparse/0", "colmap_sparse",
)  # fmt: skip
ENDINGS = (".bin", ".txt")
MODELS = {  # COLMAP's number: name, how many parameters; the first ones are f cx cy, or fx fy cx cy
    0: ("SIMPLE_PINHOLE", 3), 1: ("PINHOLE", 4), 2: ("SIMPLE_RADIAL", 4), 3: ("RADIAL", 5), 4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8), 6: ("FULL_OPENCV", 12), 7: ("FOV", 5), 8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5), 10: ("THIN_PRISM_FISHEYE", 12), 11: ("RAD_TAN_THIN_PRISM_FISHEYE", 16),
}  # fmt: skip
ONE_FOCAL = ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
OTHERS = ("FOV", "THIN_PRISM_FISHEYE", "RAD_TAN_THIN_PRISM_FISHEYE")
"""Lenses that OpenCV does not know."""
UNDISTORT = "Undistort them first: colmap image_undistorter --image_path images --input_path sparse/0 --output_path D"
HINT = "Make it again with COLMAP; its text form (colmap model_converter --output_type TXT) can be read too."


class PosedImage(NamedTuple):
    """A row of ``images``."""

    name: str
    quat: tuple[float, ...]  # wxyz, R_cam_world
    translation: tuple[float, ...]
    camera: int


class ModelLens(NamedTuple):
    """A row of ``cameras``."""

    model: str
    width: int
    height: int
    params: tuple[float, ...]


def model_folder(folder: Path) -> Path | None:
    """Where in ``folder`` a model lies, if it has one."""
    for place in PLACES:
        if any(
            (folder / place / f"images{e}").is_file() and (folder / place / f"cameras{e}").is_file() for e in ENDINGS
        ):
            return folder / place
    return None


def read_colmap(folder: Path, model: Path) -> Capture:
    """The capture of the model in ``model``, with the photos of ``folder``.

    Raises:
        BadInput: a file of the model is cut short or not COLMAP's, a camera is none or has a lens that
            OpenCV does not know, a pose is no rotation, a picture is missing, or there are too few views.
    """
    ending = ".bin" if (model / "images.bin").is_file() else ".txt"
    readers = (_cameras_bin, _images_bin, _points_bin) if ending == ".bin" else (_cameras_txt, _images_txt, _points_txt)
    files = [model / f"{part}{ending}" for part in ("cameras", "images", "points3D")]
    try:
        file = files[0]
        lenses = readers[0](file)
        file = files[1]
        images = readers[1](file)
        file = files[2]
        points, colors = readers[2](file) if file.is_file() else (np.zeros((0, 3)), np.zeros((0, 3)))
    except (OSError, ValueError, IndexError, KeyError, struct.error, OverflowError) as error:
        raise BadInput(f"{file} cannot be read as COLMAP's: {first_line(error)}.", HINT) from None
    if not np.isfinite(points).all():
        raise BadInput(f"{files[2]} holds a point that is not finite.", HINT)
    folders = picture_folders([folder, model, *model.parents[:2]])
    views = [_view(image, lenses, folders, files[1]) for image in sorted(images)]
    return checked_capture(
        views, torch.from_numpy(points).float(), torch.from_numpy(colors).float() / 255.0, str(model)
    )


def _view(image: PosedImage, lenses: dict[int, ModelLens], folders: list[Path], file: Path) -> PhotoView:
    where = f"{file}, {image.name}"
    if image.camera not in lenses:
        raise BadInput(f"{where} names camera {image.camera}, which the model does not have.", HINT)
    lens = lenses[image.camera]
    quat = torch.tensor(image.quat, dtype=torch.float64)
    if not 0.99 < float(quat.norm()) < 1.01:
        raise BadInput(f"{where}: the pose's quaternion is not of unit length.", HINT)
    viewmat = torch.eye(4, dtype=torch.float64)
    viewmat[:3, :3] = quaternion_matrices(quat)
    viewmat[:3, 3] = torch.tensor(image.translation, dtype=torch.float64)
    path = find_picture(image.name, folders)
    if path is None:
        looked = ", ".join(str(folder) for folder in folders) or str(file.parent)
        raise BadInput(f"There is no picture {image.name}, which {file} names, in {looked}.", "Put it there.")
    K, own = pinhole_and_lens(*_intrinsics(lens, where))
    camera = Camera(viewmat=checked_viewmat(viewmat, where), K=K, width=lens.width, height=lens.height)
    return PhotoView(path=path, camera=camera, test=False, lens=own)


def _intrinsics(lens: ModelLens, where: str) -> tuple[Tensor, tuple[int, int], bool, tuple[float, ...]]:
    """K of the photo as it is, its size, and how its lens bends it: what ``pinhole_and_lens`` takes."""
    pinhole = 3 if lens.model in ONE_FOCAL else 4
    bend = lens.params[pinhole:]
    if lens.model in OTHERS:
        raise BadInput(f"{where}: the photos have lens distortion ({lens.model}).", UNDISTORT)
    fx, fy, cx, cy = lens.params[:4] if pinhole == 4 else (lens.params[0], *lens.params[:3])
    K = checked_intrinsics(fx, fy, cx, cy, lens.width, lens.height, where)
    return K, (lens.width, lens.height), lens.model.endswith("FISHEYE"), bend


class _Bytes:
    """Little-endian values of a file, one after the other; ``ValueError`` at its end."""

    def __init__(self, file: Path) -> None:
        self.data, self.at = file.read_bytes(), 0

    def take(self, layout: str) -> tuple[int | float, ...]:
        layout = "<" + layout
        self.skip(struct.calcsize(layout))
        return struct.unpack_from(layout, self.data, self.at - struct.calcsize(layout))

    def skip(self, size: int) -> None:
        self.at += size
        if self.at > len(self.data):
            raise ValueError(f"the file ends within an entry, at byte {len(self.data)}")

    def text(self) -> str:
        end = self.data.index(b"\0", self.at)
        start, self.at = self.at, end + 1
        return self.data[start:end].decode()

    def rows(self) -> Iterator[int]:
        """As many numbers as the count at the head says; no row is smaller than 24 bytes."""
        count = int(self.take("Q")[0])
        if count * 24 > len(self.data):
            raise ValueError(f"the file says {count} entries but has {len(self.data)} bytes")
        return iter(range(count))


def _lens(number: int | str, width: float, height: float, params: tuple[float, ...]) -> ModelLens:
    name = MODELS[number][0] if isinstance(number, int) and number in MODELS else str(number)
    expected = dict(MODELS.values()).get(name)
    if expected is None:
        known = ", ".join(known for known, _ in MODELS.values())
        raise ValueError(f"camera model {name} is not known (only {known})")
    if len(params) != expected or min(width, height) < 1:
        raise ValueError(f"a {name} camera of {width}x{height} with {len(params)} parameters")
    return ModelLens(name, int(width), int(height), params)


def _cameras_bin(file: Path) -> dict[int, ModelLens]:
    data, lenses = _Bytes(file), {}
    for _ in data.rows():
        key, number, width, height = data.take("iiQQ")
        lenses[int(key)] = _lens(int(number), width, height, data.take(f"{MODELS.get(int(number), ('', 0))[1]}d"))
    return lenses


def _images_bin(file: Path) -> list[PosedImage]:
    data, images = _Bytes(file), []
    for _ in data.rows():
        _, *pose, camera = data.take("i7di")
        images.append(PosedImage(data.text(), tuple(pose[:4]), tuple(pose[4:]), int(camera)))
        data.skip(24 * int(data.take("Q")[0]))  # where points were seen
    return images


def _points_bin(file: Path) -> tuple[np.ndarray, np.ndarray]:
    data, points, colors = _Bytes(file), [], []
    for _ in data.rows():
        _, x, y, z, red, green, blue, _ = data.take("Q3d3Bd")
        points.append((x, y, z))
        colors.append((red, green, blue))
        data.skip(8 * int(data.take("Q")[0]))  # the photos that show it
    return np.array(points, dtype=float).reshape(-1, 3), np.array(colors, dtype=float).reshape(-1, 3)


def _lines(file: Path) -> list[str]:
    return [line for line in read_text(file).splitlines() if not line.startswith("#")]


def _cameras_txt(file: Path) -> dict[int, ModelLens]:
    lenses = {}
    for line in filter(str.strip, _lines(file)):
        key, name, width, height, *params = line.split()
        lenses[int(key)] = _lens(name, int(width), int(height), tuple(float(value) for value in params))
    return lenses


def _images_txt(file: Path) -> list[PosedImage]:
    """Two lines an image; the second, of points seen, may be empty."""
    images = []
    for line in _lines(file)[::2]:
        if line.strip():
            _, *pose, camera, name = line.split(maxsplit=9)
            values = tuple(float(value) for value in pose)
            if len(values) != 7:
                raise ValueError(f"a line of an image has {len(values)} numbers of a pose, not 7")
            images.append(PosedImage(name.strip(), values[:4], values[4:], int(camera)))
    return images


def _points_txt(file: Path) -> tuple[np.ndarray, np.ndarray]:
    rows = [[float(value) for value in line.split()[1:7]] for line in filter(str.strip, _lines(file))]
    if any(len(row) != 6 for row in rows):
        raise ValueError("a point has no position and colour")
    table = np.array(rows, dtype=float).reshape(-1, 6)
    return table[:, :3], table[:, 3:]
