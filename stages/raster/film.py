"""The one renderer of a moving asset: pictures from all around for what measures, frames in batches for videos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.cameras import Camera, fitting_radius, orbit_camera
from stages.gaussians import Frames
from stages.raster import Rasterizer, choose, render
from stages.raster.render import render_steps

FOV_DEG = 35.0


@dataclass(frozen=True, kw_only=True)
class Shot:
    """How an asset is filmed: ``num_views`` fixed cameras, evenly around."""

    frames: int
    num_views: int
    size: int
    elevation_deg: float
    raster: str | None
    device: str


@dataclass(frozen=True)
class Filmed:
    """What one camera sees, on white; on the CPU."""

    still: Tensor  # [H, W, 3] the asset at rest
    moving: Tensor  # [T, H, W, 3]
    alpha: Tensor  # [T, H, W]
    halfway: Tensor  # [(T - 1) // 2, H, W, 3] in place of frames 1, 3, ...: Gaussians halfway between their neighbours'
    flow: Tensor  # [T - 1, H, W, 2] how far each pixel goes until the next frame, in pixels
    pixels: Tensor  # [T, N, 2] where the Gaussians' centres are


@torch.no_grad()
def film(frames: Frames, shot: Shot) -> Iterator[Filmed]:
    """What each camera sees of ``frames``; all of them see all that the asset passes through."""
    rasterizer = choose(shot.device, shot.raster)
    between = Frames(frames.asset, halfway(frames.means))
    for camera in cameras_around(frames, shot):
        yield _filmed(frames, between, camera, rasterizer)


def cameras_around(frames: Frames, shot: Shot) -> list[Camera]:
    """The cameras of ``shot`` around all that the body passes through."""
    means = frames.means[:, frames.asset.body]
    low, high = means.amin(dim=(0, 1)), means.amax(dim=(0, 1))
    return [
        orbit_camera(
            azimuth_deg=360.0 * view / shot.num_views,
            elevation_deg=shot.elevation_deg,
            radius=fitting_radius(low, high, FOV_DEG),
            fov_deg=FOV_DEG,
            width=shot.size,
            height=shot.size,
            target=0.5 * (low + high),
        ).to(shot.device)
        for view in range(shot.num_views)
    ]


def _filmed(frames: Frames, between: Frames, camera: Camera, rasterizer: Rasterizer) -> Filmed:
    white = torch.ones(3, device=frames.means.device)
    moving = render(frames, [camera] * frames.num_frames, rasterizer, background=white)
    middle = moving.rgb[:0]
    if between.num_frames:
        middle = render(between, [camera] * between.num_frames, rasterizer, background=white).rgb
    return Filmed(
        still=render(frames.asset, [camera], rasterizer, background=white).rgb[0].cpu(),
        moving=moving.rgb.cpu(),
        alpha=moving.alpha[..., 0].cpu(),
        halfway=middle.cpu(),
        flow=render_steps(frames, camera, rasterizer)[0].cpu(),
        pixels=camera.project(frames.means).cpu(),
    )


def halfway(values: Tensor) -> Tensor:
    """Means of frames 0 and 2, 2 and 4, ... of ``values`` [T, ...]: [(T - 1) // 2, ...]."""
    even = values[::2]
    return 0.5 * (even[:-1] + even[1:])
