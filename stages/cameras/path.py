"""Cameras that travel: around the asset, or as a file says.

A file holds keyframes, each at a ``time`` of the clip from 0 to 1, either around the asset ::

    {"keyframes": [{"time": 0, "azimuth": 0, "elevation": 10},
                   {"time": 1, "azimuth": 180, "elevation": 30, "radius": 2.5, "fov": 25}]}

or anywhere in its world (right-handed, y up) ::

    {"keyframes": [{"time": 0, "position": [0, 1, 4], "target": [0, 0.5, 0]}, ...]}

What a keyframe leaves out is as without a file: ``target`` is the middle of the asset, ``radius`` shows all of it,
``azimuth``, ``elevation`` and ``fov`` (degrees) are those of the command. Between keyframes every number follows a
monotone cubic (Fritsch and Carlson 1980): smooth, through each keyframe, never beyond two neighbours. Or the file is a
``transforms.json`` as NeRFs have it: ``camera_angle_x`` and ``frames``, each with a ``transform_matrix`` (camera to
world; x right, y up, looking along -z), spread evenly over the clip. ``width`` and ``height`` beside the keyframes say
the size of the picture (``stages.cameras.file``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation, Slerp
from torch import Tensor

from stages.cameras.camera import Camera, fitting_radius, orbit_camera, upright_camera
from stages.errors import BadInput, first_line

SIZES = {"time": 1, "azimuth": 1, "elevation": 1, "radius": 1, "fov": 1, "target": 3, "position": 3}
"""What a keyframe can say, and with how many numbers."""

FARTHEST = 1e30
"""A number of a pose beyond is none that single precision can hold."""

AROUND = {"azimuth", "elevation", "radius"}


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How the asset fills the picture where nothing else is said."""

    low: Tensor  # [3] box of the asset and its motion
    high: Tensor  # [3]
    azimuth_deg: float
    elevation_deg: float
    fov_deg: float
    width: int
    height: int

    @property
    def target(self) -> Tensor:
        """The middle of the asset, [3]."""
        return 0.5 * (self.low + self.high).cpu()

    @property
    def radius(self) -> float:
        """A distance from which the whole motion is in the image."""
        aspect = self.width / self.height
        return fitting_radius(self.low, self.high, self.fov_deg) / min(1.0, max(aspect, 1.0 / aspect))


def orbit_path(view: Framing, num_frames: int, orbit_deg: float) -> list[Camera]:
    """One camera a frame on a circle, from the azimuth of ``view``; a whole turn ends one frame before it begins."""
    turns = torch.linspace(0.0, orbit_deg, num_frames + (1 if abs(orbit_deg) == 360.0 else 0))
    return [
        orbit_camera(
            azimuth_deg=view.azimuth_deg + float(turns[frame]),
            elevation_deg=view.elevation_deg,
            radius=view.radius,
            fov_deg=view.fov_deg,
            width=view.width,
            height=view.height,
            target=view.target,
        )
        for frame in range(num_frames)
    ]


def read_path(file: Path, view: Framing, times: Tensor) -> list[Camera]:
    """The cameras that ``file`` asks for at ``times`` [T] in [0, 1]. Raises ``BadInput`` about the file."""
    content = read_content(file)
    if "keyframes" in content:
        return _through(_keyframes(content["keyframes"], file, view), file, view, times)
    return _from_matrices(content, file, view, times)


def read_content(file: Path) -> dict[str, Any]:
    """What stands in a camera file. Raises ``BadInput``: no JSON, or it has neither keyframes nor frames."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = first_line(error)
        raise BadInput(f"The camera path {file} cannot be read: {reason}.", "Give a JSON file.") from None
    if not isinstance(content, dict) or not ({"keyframes", "frames"} & content.keys()):
        raise BadInput(
            f"The camera path {file} has neither keyframes nor frames.",
            'Write {"keyframes": [{"time": 0, "azimuth": 0}, {"time": 1, "azimuth": 90}]}.',
        )
    return content


def _keyframes(listed: Any, file: Path, view: Framing) -> dict[str, np.ndarray]:
    """Each number that changes, [keyframes] or [keyframes, 3], what is left out filled in; ``time`` among them."""
    if not isinstance(listed, list) or not listed or not all(isinstance(one, dict) for one in listed):
        raise BadInput(f"The keyframes of {file} are not a list of objects.")
    usual: dict[str, Any] = {"target": view.target.tolist(), "fov": view.fov_deg}
    if any("position" in one for one in listed):
        if any(AROUND & one.keys() for one in listed) or not all("position" in one for one in listed):
            raise BadInput(
                f"Keyframes of {file} mix positions with angles.", "Give every one a position, or none of them."
            )
    else:
        usual |= {"azimuth": view.azimuth_deg, "elevation": view.elevation_deg, "radius": view.radius}
    rows = [{**usual, **one} for one in listed]
    for index, row in enumerate(rows):
        for name, value in row.items():
            numbers = value if isinstance(value, list) else [value]
            if name not in SIZES:
                raise BadInput(f"Keyframe {index} of {file} has an unknown {name!r}.", f"Known: {', '.join(SIZES)}.")
            if len(numbers) != SIZES[name] or not all(_finite(number) for number in numbers):
                raise BadInput(
                    f"{name} of keyframe {index} of {file} is not {SIZES[name]} finite number(s): {value!r}."
                )
        if "time" not in row:
            raise BadInput(f"Keyframe {index} of {file} has no time.", "Times run from 0 to 1.")
    columns = {name: np.array([row[name] for row in rows], dtype=float) for name in rows[0]}
    if (np.diff(columns["time"]) <= 0).any() or columns["time"][0] < 0 or columns["time"][-1] > 1:
        raise BadInput(f"The times of {file} do not rise from keyframe to keyframe within 0 to 1.")
    if not ((columns["fov"] > 0) & (columns["fov"] < 180)).all():
        raise BadInput(f"A fov of {file} is not between 0 and 180 degrees.")
    if "elevation" in columns and not ((np.abs(columns["elevation"]) < 90) & (columns["radius"] > 0)).all():
        raise BadInput(f"An elevation of {file} is not between -90 and 90 degrees, or a radius is not above 0.")
    return columns


def _through(columns: Mapping[str, np.ndarray], file: Path, view: Framing, times: Tensor) -> list[Camera]:
    """Cameras at ``times`` through the keyframes; before the first and after the last they stand."""
    keys = columns["time"]
    now = times.double().cpu().numpy().clip(keys[0], keys[-1])
    tracks = {
        name: PchipInterpolator(keys, values)(now) if len(keys) > 1 else np.repeat(values, len(now), axis=0)
        for name, values in columns.items()
    }
    cameras = []
    for frame in range(len(now)):
        fov, target = float(tracks["fov"][frame]), torch.tensor(tracks["target"][frame], dtype=torch.float32)
        if "position" not in tracks:
            cameras.append(
                orbit_camera(
                    azimuth_deg=float(tracks["azimuth"][frame]),
                    elevation_deg=float(tracks["elevation"][frame]),
                    radius=float(tracks["radius"][frame]),
                    fov_deg=fov,
                    width=view.width,
                    height=view.height,
                    target=target,
                )
            )
            continue
        position = torch.tensor(tracks["position"][frame], dtype=torch.float32)
        forward = target - position
        if float(forward[[0, 2]].norm()) < 1e-4 * float(forward.norm()) or not float(forward.norm()) > 0.0:
            raise BadInput(
                f"The path of {file} looks straight up or down at time {now[frame]:.2f}, or stands at its target.",
                "Move position or target a little to the side.",
            )
        cameras.append(
            upright_camera(
                position=position, forward=forward / forward.norm(), fov_deg=fov, width=view.width, height=view.height
            )
        )
    return cameras


def _from_matrices(content: Mapping[str, Any], file: Path, view: Framing, times: Tensor) -> list[Camera]:
    """Cameras at ``times`` between those of a ``transforms.json``."""
    angle = content.get("camera_angle_x", math.radians(view.fov_deg))
    try:
        poses = np.array([frame["transform_matrix"] for frame in content["frames"]], dtype=float)
    except (KeyError, TypeError, ValueError, OverflowError):
        poses = np.zeros(0)
    if poses.ndim != 3 or poses.shape[1:] != (4, 4) or not (np.abs(poses) <= FARTHEST).all():
        raise BadInput(f"The frames of {file} are not transform_matrix of 4 x 4 finite numbers each.")
    if not _finite(angle) or not 0.0 < angle < math.pi:
        raise BadInput(f"camera_angle_x of {file} is not an angle between 0 and pi: {angle!r}.")
    if (np.abs(np.linalg.det(poses[:, :3, :3]) - 1.0) > 1e-2).any():
        raise BadInput(f"A transform_matrix of {file} is not a rotation and a translation.")
    keys, now = np.linspace(0.0, 1.0, len(poses)), times.double().cpu().numpy()
    turns = Rotation.from_matrix(poses[:, :3, :3] @ np.diag([1.0, -1.0, -1.0]))  # to x right, y down, z forward
    if len(poses) > 1:
        R_world_cam = Slerp(keys, turns)(now).as_matrix()
        positions = PchipInterpolator(keys, poses[:, :3, 3])(now)
    else:
        R_world_cam, positions = turns.as_matrix().repeat(len(now), 0), poses[:, :3, 3].repeat(len(now), 0)
    focal = 0.5 * view.width / math.tan(0.5 * angle)
    K = torch.tensor([[focal, 0.0, view.width / 2], [0.0, focal, view.height / 2], [0.0, 0.0, 1.0]])
    cameras = []
    for R, position in zip(R_world_cam, positions, strict=True):
        viewmat = torch.eye(4)
        viewmat[:3, :3] = torch.tensor(R.T, dtype=torch.float32)
        viewmat[:3, 3] = torch.tensor(-R.T @ position, dtype=torch.float32)
        cameras.append(Camera(viewmat=viewmat, K=K, width=view.width, height=view.height))
    return cameras


def _finite(value: Any) -> bool:
    """Whether it is a number up to ``FARTHEST``; ``math.isfinite`` raises for whole numbers beyond a float."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= FARTHEST
