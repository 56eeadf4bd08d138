"""Writes captures as other programs do, from known cameras: a NeRF's transforms.json, COLMAP's sparse model."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from stages.cameras import Camera, orbit_camera


def cameras(count: int = 5, width: int = 32, height: int = 24) -> list[Camera]:
    """Views from all around, no two alike, the centre of the picture off its middle."""
    found = []
    for k in range(count):
        camera = orbit_camera(
            azimuth_deg=360.0 * k / count, elevation_deg=10.0 + 25.0 * (k % 3), radius=3.0 + 0.1 * k, fov_deg=40.0,
            width=width, height=height, target=torch.tensor([0.1, 0.0, -0.2]),
        )  # fmt: skip
        camera.K[0, 2] += 1.5
        found.append(camera)
    return found


def write_pictures(folder: Path, pictures: Sequence[np.ndarray]) -> None:
    """``images/000.png`` ... from uint8 [H, W, 3 or 4]."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for k, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / "images" / f"{k:03d}.png")


def plain_pictures(folder: Path, views: Sequence[Camera]) -> None:
    write_pictures(folder, [np.full((v.height, v.width, 3), 90, dtype=np.uint8) for v in views])


def write_transforms(folder: Path, views: Sequence[Camera], name: str = "transforms.json") -> dict:  # type: ignore[type-arg]
    """World-from-camera, x right, y up, z backward."""
    frames = []
    for k, view in enumerate(views):
        world_from_camera = np.linalg.inv(view.viewmat.double().numpy())
        world_from_camera[:, 1:3] *= -1.0
        fx, fy, cx, cy = (float(view.K[i, j]) for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
        frames.append({
            "file_path": f"./images/{k:03d}.png", "transform_matrix": world_from_camera.tolist(), "fl_x": fx,
            "fl_y": fy, "cx": cx, "cy": cy, "w": view.width, "h": view.height,
        })  # fmt: skip
    document = {"frames": frames}
    (folder / name).write_text(json.dumps(document))
    return document


def write_colmap(folder: Path, views: Sequence[Camera], ending: str, points: np.ndarray | None = None) -> Path:
    """``sparse/0`` with a PINHOLE camera for each view; ``points`` are [P, 6], positions and colours 0..255."""
    model = folder / "sparse" / "0"
    model.mkdir(parents=True, exist_ok=True)
    write = _write_binary if ending == ".bin" else _write_text
    write(model, views, np.zeros((0, 6)) if points is None else points)
    return model


def _numbers(view: Camera) -> tuple[list[float], list[float]]:
    """Quaternion wxyz and translation of a pose; fx fy cx cy."""
    viewmat = view.viewmat.double().numpy()
    x, y, z, w = Rotation.from_matrix(viewmat[:3, :3]).as_quat()
    K = view.K.double()
    return [w, x, y, z, *viewmat[:3, 3]], [float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2])]


def _write_binary(model: Path, views: Sequence[Camera], points: np.ndarray) -> None:
    lenses = images = struct.pack("<Q", len(views))
    for k, view in enumerate(views):
        pose, pinhole = _numbers(view)
        lenses += struct.pack("<iiQQ4d", k + 1, 1, view.width, view.height, *pinhole)
        images += struct.pack("<i7di", k + 1, *pose, k + 1) + f"{k:03d}.png".encode() + b"\0"
        images += struct.pack("<Q", k) + k * struct.pack("<ddq", 1.0, 2.0, -1)  # where points were seen
    cloud = struct.pack("<Q", len(points))
    for k, row in enumerate(points):
        cloud += struct.pack("<Q3d3Bd", k, *row[:3], *row[3:].astype(np.uint8), 0.5) + struct.pack("<Qii", 1, 1, 0)
    for name, data in (("cameras", lenses), ("images", images), ("points3D", cloud)):
        (model / f"{name}.bin").write_bytes(data)


def _write_text(model: Path, views: Sequence[Camera], points: np.ndarray) -> None:
    lenses, images, cloud = ["# cameras"], ["# images"], ["# points"]
    for k, view in enumerate(views):
        pose, pinhole = _numbers(view)
        lenses.append(f"{k + 1} PINHOLE {view.width} {view.height} {_joined(pinhole)}")
        images += [f"{k + 1} {_joined(pose)} {k + 1} {k:03d}.png", "1.0 2.0 -1" if k % 2 else ""]
    for k, row in enumerate(points):
        cloud.append(f"{k} {_joined(row[:3])} {' '.join(str(int(value)) for value in row[3:])} 0.5 1 0")
    for name, lines in (("cameras", lenses), ("images", images), ("points3D", cloud)):
        (model / f"{name}.txt").write_text("\n".join(lines) + "\n")


def _joined(values: Sequence[float]) -> str:
    return " ".join(repr(float(value)) for value in values)
