"""Pictures of a moving asset from all around, made once for everything that measures on pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.cameras import Camera, fitting_radius, orbit_camera
from stages.conventions import frame_times
from stages.moving_asset import MovingAsset
from stages.raster import Rasterizer, choose, render

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
class View:
    """What one camera sees, on white; on the CPU."""

    still: Tensor  # [H, W, 3] the asset at rest
    moving: Tensor  # [T, H, W, 3]
    alpha: Tensor  # [T, H, W]
    halfway: Tensor  # [(T - 1) // 2, H, W, 3] in place of frames 1, 3, ...: Gaussians halfway between their neighbours'
    flow: Tensor  # [T - 1, H, W, 2] how far each pixel goes until the next frame, in pixels
    pixels: Tensor  # [T, N, 2] where the Gaussians' centres are


@torch.no_grad()
def film(asset: MovingAsset, shot: Shot) -> Iterator[View]:
    """What each camera sees; all of them see all that the asset passes through."""
    rasterizer = choose(shot.device, shot.raster)
    means, quats = asset.at(frame_times(shot.frames, shot.device))
    for camera in cameras_around(means, shot):
        yield _view(asset, means, quats, camera, rasterizer)


def cameras_around(means: Tensor, shot: Shot) -> list[Camera]:
    """The cameras of ``shot`` around all positions ``means`` [T, N, 3]."""
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


def _view(asset: MovingAsset, means: Tensor, quats: Tensor, camera: Camera, rasterizer: Rasterizer) -> View:
    white = torch.ones(3, device=means.device)

    def pictures(positions: Tensor, turns: Tensor) -> Tensor:
        cameras = [camera] * len(positions)
        return render(asset.gaussians, cameras, rasterizer, means=positions, quats=turns, background=white).rgb.cpu()

    moving = render(asset.gaussians, [camera] * len(means), rasterizer, means=means, quats=quats, background=white)
    between = halfway(means), torch.nn.functional.normalize(halfway(quats), dim=-1)
    return View(
        still=render(asset.gaussians, [camera], rasterizer, background=white).rgb[0].cpu(),
        moving=moving.rgb.cpu(),
        alpha=moving.alpha[..., 0].cpu(),
        halfway=pictures(*between) if len(between[0]) else moving.rgb[:0].cpu(),
        flow=_flow(asset, means, quats, camera, rasterizer).cpu(),
        pixels=camera.project(means).cpu(),
    )


def halfway(values: Tensor) -> Tensor:
    """Means of frames 0 and 2, 2 and 4, ... of ``values`` [T, ...]: [(T - 1) // 2, ...]. Quaternions of neighbouring
    frames are near each other here, so that their mean, normalised, lies halfway too."""
    even = values[::2]
    return 0.5 * (even[:-1] + even[1:])


def _flow(asset: MovingAsset, means: Tensor, quats: Tensor, camera: Camera, rasterizer: Rasterizer) -> Tensor:
    """[T - 1, H, W, 2]: the Gaussians, painted with how far their centres go until the next frame."""
    steps = len(means) - 1
    pixels = camera.project(means)
    gaussians = asset.gaussians
    return rasterizer(
        means[:-1],
        quats[:-1],
        gaussians.scales,
        gaussians.opacities,
        torch.nn.functional.pad(pixels[1:] - pixels[:-1], (0, 1)),
        camera.viewmat.expand(steps, -1, -1).to(means),
        camera.K.expand(steps, -1, -1).to(means),
        camera.width,
        camera.height,
    ).rgb[..., :2]
