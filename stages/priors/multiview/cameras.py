"""The four cameras that MV-VDM knows, and cameras in its own frame.

MVDream's frame has z up and azimuth 0 on +x; a camera looks along its -z with y up (OpenGL). Ours has y up, azimuth 0
on +z, and a camera looks along its +z with y down (OpenCV). So our (x, y, z) is its (z, x, y), and azimuths are the
same. MVDream is told the direction that a camera stands in, not its distance: positions are of unit length.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stages.cameras import Camera, fitting_radius, orbit_camera
from stages.gaussians import Gaussians
from stages.priors.prior import ClipShape

ELEVATION_DEG, FOV_DEG = 15.0, 40.0
"""Of the views that Animate3D samples and fits to (its configs, ``default_elevation_deg`` and ``default_fovy_deg``)."""
FILL = 1.0
"""Share of the picture that the bounding sphere takes; the asset itself takes less. [ours]"""

AXES = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
"""Our world to MVDream's: (x, y, z) -> (z, x, y)."""


def views_around(asset: Gaussians, azimuth_deg: float, num_views: int, clip: ClipShape) -> tuple[Camera, ...]:
    """``num_views`` cameras, evenly around ``asset`` from ``azimuth_deg`` on, on its device."""
    low, high = (side.cpu() for side in asset.bounds())
    cameras = (
        orbit_camera(
            azimuth_deg=azimuth_deg + 360.0 * index / num_views,
            elevation_deg=ELEVATION_DEG,
            radius=fitting_radius(low, high, FOV_DEG, FILL),
            fov_deg=FOV_DEG,
            width=clip.width,
            height=clip.height,
            target=0.5 * (low + high),
        )
        for index in range(num_views)
    )
    return tuple(camera.to(asset.means.device) for camera in cameras)


def in_own_frame(cameras: Sequence[Camera]) -> Tensor:
    """World-from-camera [V, 4, 4] in MVDream's frame of cameras that look at the asset."""
    told = torch.eye(4).repeat(len(cameras), 1, 1)
    for matrix, camera in zip(told, cameras, strict=True):
        R_world_cam = AXES @ camera.viewmat[:3, :3].float().cpu().T
        matrix[:3, :3] = R_world_cam * torch.tensor([1.0, -1.0, -1.0])  # right, up, back
        matrix[:3, 3] = matrix[:3, 2]  # it stands where it looks back to
    return told
