"""What a capture is: views with cameras in the project's convention, and perhaps coarse coloured points."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from stages.cameras import Camera
from stages.captures.lens import Lens
from stages.errors import BadInput

MIN_VIEWS = 3
MAX_VIEWS = 5000
ROTATION_TOLERANCE = 1e-3
"""Largest entry of R^T R - 1 that counts as rounding: files are written with as few as four decimals."""
AXES = {
    "x": (1.0, 0.0, 0.0), "-x": (-1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "-y": (0.0, -1.0, 0.0), "z": (0.0, 0.0, 1.0),
    "-z": (0.0, 0.0, -1.0),
}  # fmt: skip
SNAP_DEG = 20.0
"""An axis of the file this close to the pictures' mean upward direction is taken for the file's own up."""


@dataclass(frozen=True, kw_only=True)
class PhotoView:
    """One posed photo, not read yet."""

    path: Path
    camera: Camera  # at the size of the photo, or of the file that names it; of the straightened photo
    test: bool  # belongs to the capture's own test split
    lens: Lens | None = None  # what bends the photo, at the same size
    mask: Path | None = None  # a picture of where the thing is: white


@dataclass(frozen=True, kw_only=True)
class Photo:
    """One posed photo in memory."""

    name: str
    camera: Camera  # at the size of ``rgba``
    rgba: Tensor  # [H, W, 4] uint8, colour not multiplied by alpha; alpha 255 where the photo has none


@dataclass(frozen=True, kw_only=True)
class Capture:
    """V views of one thing, in one world frame."""

    views: tuple[PhotoView, ...]
    points: Tensor  # [P, 3] world; P = 0 when the capture has none
    colors: Tensor  # [P, 3] in [0, 1]


def checked_viewmat(camera_from_world: Tensor, where: str) -> Tensor:
    """A viewmat [4, 4] float32 from one of any precision.

    Raises:
        BadInput: ``where`` has an entry that is not finite, a rotation that is none, or a last row that is not 0 0 0 1.
    """
    if camera_from_world.shape != (4, 4):
        raise BadInput(f"{where}: the pose is not a 4 x 4 matrix.")
    if not torch.isfinite(camera_from_world).all():
        raise BadInput(f"{where}: the pose holds a value that is not a finite number.")
    R = camera_from_world[:3, :3].double()
    error = float((R @ R.T - torch.eye(3, dtype=torch.float64)).abs().max())
    last = camera_from_world[3].double() - torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    if error > ROTATION_TOLERANCE or torch.linalg.det(R) < 0.0 or float(last.abs().max()) > ROTATION_TOLERANCE:
        raise BadInput(
            f"{where}: the pose is not a rotation and a translation (off by {error:.2g}).",
            "Poses with scale or shear cannot be used.",
        )
    return camera_from_world.float()


def checked_intrinsics(fx: float, fy: float, cx: float, cy: float, width: int, height: int, where: str) -> Tensor:
    """K [3, 3] in pixels. Raises ``BadInput`` for a focal length or a centre that no photo of that size has."""
    values = torch.tensor([fx, fy, cx, cy], dtype=torch.float64)
    inside = -width <= cx <= 2 * width and -height <= cy <= 2 * height
    if not torch.isfinite(values).all() or min(fx, fy) <= 0.0 or not inside:
        raise BadInput(
            f"{where}: fx {fx:g}, fy {fy:g}, cx {cx:g}, cy {cy:g} are no pinhole camera of {width}x{height}."
        )
    return torch.tensor([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def pinhole_and_lens(
    K: Tensor, size: tuple[int, int], fisheye: bool, bend: tuple[float, ...]
) -> tuple[Tensor, Lens | None]:
    """K of the straightened photos of width and height ``size``, and the lens to straighten them of; None: there is
    nothing to do."""
    lens = Lens(K=K, fisheye=fisheye, coefficients=bend)
    return (lens.pinhole(*size), lens) if lens.bends else (K, None)


def checked_capture(views: list[PhotoView], points: Tensor, colors: Tensor, where: str) -> Capture:
    """A capture of enough views. Raises ``BadInput`` for too few, too many, or all from one place."""
    if not MIN_VIEWS <= len(views) <= MAX_VIEWS:
        raise BadInput(
            f"{where} has {len(views)} posed pictures; between {MIN_VIEWS} and {MAX_VIEWS} can be used.",
            "Give photos from all around the thing.",
        )
    positions = torch.stack([view.camera.position for view in views])
    if float((positions - positions[0]).norm(dim=-1).max()) <= 1e-6 * max(1.0, float(positions.norm(dim=-1).max())):
        raise BadInput(f"{where}: all cameras stand in one place.", "A shape needs photos from several places.")
    return Capture(views=tuple(views), points=points, colors=colors)


def upright(capture: Capture, up: str) -> Capture:
    """The capture turned so that ``up`` becomes +y: an axis of the file, or "auto", what is up in the pictures.

    "auto" takes the mean of the cameras' upward directions, or the axis that lies within ``SNAP_DEG`` of it.
    """
    direction = torch.tensor(AXES[up]) if up in AXES else _mean_up(capture)
    R = _turn_to_y(direction)
    turn = torch.eye(4)
    turn[:3, :3] = R.T  # world before from world after
    views = [replace(v, camera=replace(v.camera, viewmat=v.camera.viewmat @ turn)) for v in capture.views]
    return replace(capture, views=tuple(views), points=capture.points @ R.T)


def _mean_up(capture: Capture) -> Tensor:
    """Unit vector [3]; +y where the cameras' upward directions cancel."""
    mean = -torch.stack([view.camera.viewmat[1, :3] for view in capture.views]).mean(dim=0)
    if float(mean.norm()) < 0.1:
        return torch.tensor(AXES["y"])
    mean = mean / mean.norm()
    axes = torch.tensor(list(AXES.values()))
    nearest = axes[int((axes @ mean).argmax())]
    close = float(nearest @ mean) > float(torch.cos(torch.deg2rad(torch.tensor(SNAP_DEG))))
    return nearest if close else mean


def _turn_to_y(direction: Tensor) -> Tensor:
    """The smallest rotation [3, 3] that takes the unit vector ``direction`` to +y; about x when it is -y."""
    y = torch.tensor(AXES["y"])
    if float(direction @ y) < -0.999999:
        return torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    v = torch.linalg.cross(direction, y)
    cross = torch.tensor([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])
    return torch.eye(3) + cross + cross @ cross / (1.0 + direction @ y)  # Rodrigues
