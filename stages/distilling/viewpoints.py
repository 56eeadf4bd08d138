"""The fixed set of viewpoints that an optimisation draws from."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from stages.cameras import sample_orbit_cameras
from stages.conventions import step_generator
from stages.gaussians import Gaussians
from stages.priors.prior import ClipShape, Viewpoint
from stages.raster import Rasterizer
from stages.settings import check


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """From where an asset is seen."""

    num_cameras: int = 8
    background: float = 1.0  # grey value behind the asset

    def __post_init__(self) -> None:
        check(self, num_cameras=1, background=0)


def sample_viewpoints(
    asset: Gaussians, clip: ClipShape, config: ViewsConfig, rasterizer: Rasterizer, *, seed: int, stream: int = 1
) -> list[Viewpoint]:
    """Viewpoints around ``asset``, on its device, for pictures of the size of ``clip``; the same for the same seed and
    stream (``step_generator``)."""
    low, high = asset.bounds()
    cameras = sample_orbit_cameras(
        config.num_cameras,
        low=low,
        high=high,
        width=clip.width,
        height=clip.height,
        generator=step_generator(seed, 0, stream=stream),
    )
    device = asset.means.device
    background = torch.full((3,), config.background, device=device)
    return [Viewpoint(camera.to(device), background, rasterizer) for camera in cameras]
