"""An upright camera as six numbers that a picture of an asset determines one by one, for those who search for it.

From where it is seen (azimuth, elevation) says what the asset looks like; its size and its place in the picture are
seen directly; the focal length says how strong the perspective is. A camera's own direction follows from these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.cameras import Camera, upright_camera


@dataclass(frozen=True)
class Aim:
    """A camera that sees the point ``centre`` of the asset."""

    azimuth_deg: float  # of the camera's place around the centre
    elevation_deg: float
    log_size: float  # of focal length over distance: pixels a unit takes, in shorter sides of the picture
    log_focal: float  # focal length in shorter sides of the picture
    x: float  # where the centre is in the picture, from its middle, in shorter sides
    y: float

    def numbers(self) -> Tensor:
        """[6], angles in units of ``DEGREES``, so that a step of one is alike for all of them."""
        return torch.tensor(
            [self.azimuth_deg / DEGREES, self.elevation_deg / DEGREES, self.log_size, self.log_focal, self.x, self.y],
            dtype=torch.float64,
        )

    @staticmethod
    def of(numbers: Tensor) -> Aim:
        """That of ``numbers`` [6]."""
        azimuth, elevation, *rest = (float(number) for number in numbers)
        return Aim(azimuth * DEGREES, elevation * DEGREES, *rest)

    def camera(self, centre: Tensor, width: int, height: int) -> Camera:
        """The camera, for pictures of ``width`` x ``height``; ``centre`` [3] in the world."""
        azimuth, elevation = math.radians(self.azimuth_deg), math.radians(self.elevation_deg)
        focal = math.exp(self.log_focal)
        outward = torch.tensor(
            [math.sin(azimuth) * math.cos(elevation), math.sin(elevation), math.cos(azimuth) * math.cos(elevation)],
            dtype=torch.float64,
        )
        ray = torch.tensor([self.x / focal, self.y / focal, 1.0], dtype=torch.float64)
        distance = focal / math.exp(self.log_size) * float(ray.norm())
        forward = _forward(-outward, ray / ray.norm())
        return upright_camera(
            position=(centre.double().cpu() + distance * outward).float(),
            forward=forward.float(),
            fov_deg=math.degrees(2.0 * math.atan(0.5 / focal)),
            width=width,
            height=height,
        )


DEGREES = 20.0
"""Of the angles, that change a picture about as much as one of the other numbers. [ours]"""


def _forward(direction: Tensor, ray: Tensor) -> Tensor:
    """Where an upright camera looks, [3], that sees the world's ``direction`` [3] along its own ``ray`` [3] (x right,
    y down, z forward); both of unit length.

    With the elevation e of the camera's axis, the vertical part is ``ray_z sin e - ray_y cos e``, which gives e; the
    level part gives the azimuth.
    """
    x, y, z = (float(part) for part in ray)
    tilt = math.atan2(y, z) + math.asin(max(-1.0, min(1.0, float(direction[1]) / math.hypot(y, z))))
    ahead = z * math.cos(tilt) + y * math.sin(tilt)
    azimuth = math.atan2(float(direction[0]), float(direction[2])) + math.atan2(x, ahead)
    return torch.tensor(
        [math.sin(azimuth) * math.cos(tilt), math.sin(tilt), math.cos(azimuth) * math.cos(tilt)], dtype=torch.float64
    )
