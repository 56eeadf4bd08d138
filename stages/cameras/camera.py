"""A pinhole camera, and where to put one around an asset."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera in the OpenCV convention of ``stages.conventions``."""

    viewmat: Tensor  # [4, 4] camera-from-world
    K: Tensor  # [3, 3] pixels
    width: int
    height: int

    @property
    def position(self) -> Tensor:
        """Camera centre in the world frame, [3]."""
        R_cam_world, t = self.viewmat[:3, :3], self.viewmat[:3, 3]
        return -R_cam_world.T @ t

    def project(self, points: Tensor) -> Tensor:
        """Pixels [..., 2] of world ``points`` [..., 3] in front of the camera."""
        viewmat, K = self.viewmat.to(points), self.K.to(points)
        seen = points @ viewmat[:3, :3].T + viewmat[:3, 3]
        image = seen @ K.T
        return image[..., :2] / image[..., 2:]

    def to(self, device: torch.device | str) -> Camera:
        """The same camera with its matrices on ``device``."""
        return Camera(viewmat=self.viewmat.to(device), K=self.K.to(device), width=self.width, height=self.height)


def orbit_camera(
    *,
    azimuth_deg: float,
    elevation_deg: float,
    radius: float,
    fov_deg: float,
    width: int,
    height: int,
    target: Tensor | None = None,  # [3] world, the origin when None
) -> Camera:
    """A camera on a sphere around ``target``, looking at it, with y up in the image.

    Azimuth 0 stands on the +z side (in front of the asset); azimuth 90 on the +x side. ``fov_deg`` is the field of
    view along the shorter image side. Elevation must lie strictly between -90 and 90.
    """
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    outward = torch.tensor(
        [math.sin(azimuth) * math.cos(elevation), math.sin(elevation), math.cos(azimuth) * math.cos(elevation)]
    )
    centre = torch.zeros(3) if target is None else target.detach().cpu().float()
    return upright_camera(
        position=centre + radius * outward, forward=-outward, fov_deg=fov_deg, width=width, height=height
    )


def upright_camera(*, position: Tensor, forward: Tensor, fov_deg: float, width: int, height: int) -> Camera:
    """A camera at ``position`` [3] that looks along the unit vector ``forward`` [3], which is not vertical, with y up
    in the image; ``fov_deg`` along the shorter image side."""
    right = torch.linalg.cross(forward, torch.tensor([0.0, 1.0, 0.0]))
    right = right / right.norm()
    down = torch.linalg.cross(forward, right)
    R_cam_world = torch.stack([right, down, forward])
    viewmat = torch.eye(4)
    viewmat[:3, :3] = R_cam_world
    viewmat[:3, 3] = -R_cam_world @ position
    focal = 0.5 * min(width, height) / math.tan(0.5 * math.radians(fov_deg))
    K = torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
    return Camera(viewmat=viewmat, K=K, width=width, height=height)


def fitting_radius(low: Tensor, high: Tensor, fov_deg: float, fill: float = 0.9) -> float:
    """Distance from the centre of the box ``(low, high)`` at which its bounding sphere takes ``fill`` of the image."""
    half_diagonal = 0.5 * float((high - low).norm())
    return half_diagonal / (fill * math.sin(0.5 * math.radians(fov_deg)))


def sample_orbit_cameras(
    num_cameras: int,
    *,
    low: Tensor,  # [3] box of the asset
    high: Tensor,  # [3]
    width: int,
    height: int,
    generator: torch.Generator,
    elevation_deg: tuple[float, float] = (0.0, 30.0),
    fov_deg: tuple[float, float] = (30.0, 40.0),
    fill: tuple[float, float] = (1.0, 1.2),
) -> list[Camera]:
    """Random cameras for training: azimuths stratified over the circle, elevation, field of view and fill uniform.

    Ranges follow 4D-fy and TC4D except ``fov_deg`` and ``fill`` [ours]: ``fill`` above 1 lets
    the bounding sphere (not the asset, which is smaller) leave the image.
    """

    def uniform(bounds: tuple[float, float]) -> float:
        return bounds[0] + (bounds[1] - bounds[0]) * float(torch.rand((), generator=generator))

    offset = 360.0 * float(torch.rand((), generator=generator))
    cameras = []
    for index in range(num_cameras):
        fov = uniform(fov_deg)
        cameras.append(
            orbit_camera(
                azimuth_deg=offset + 360.0 * (index + uniform((-0.3, 0.3))) / num_cameras,
                elevation_deg=uniform(elevation_deg),
                radius=fitting_radius(low, high, fov, uniform(fill)),
                fov_deg=fov,
                width=width,
                height=height,
                target=0.5 * (low + high),
            )
        )
    return cameras
