"""eval: numbers for a motion, on the Gaussians and on renders.

    animus3d eval

Every metric says what it is: the definition stands beside the value in ``eval/metrics.json``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stages.cameras import Camera, fitting_radius, orbit_camera
from stages.conventions import frame_times
from stages.errors import BadInput
from stages.events import Finished, Progress, Report, Started, Wrote
from stages.gaussians.neighbours import nearest_neighbours
from stages.metrics.image import off_object_alpha, psnr, ssim
from stages.metrics.motion import jerk, motion_amplitude, neighbour_distance_change
from stages.motion.regularizers import arap, tv3d
from stages.moving_asset import MovingAsset, load_moving_asset
from stages.raster import choose, render
from stages.run_dir import RunDir
from stages.run_dir.files import write_json

SOLID = 0.5
"""Opacity from which a Gaussian counts as part of the object."""

REACH = 0.04
"""How far from a solid Gaussian's centre, in image sides, opacity still belongs to the object."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Settings of ``eval``."""

    frames: int = 16
    num_views: int = 8  # azimuths, as in the paper's CLIP-Image
    size: int = 128
    elevation_deg: float = 15.0
    neighbours: int = 8
    source: str = "auto"
    raster: str | None = None
    device: str = "cpu"


PRESETS = {"default": EvaluateConfig()}


def run(run: RunDir, config: EvaluateConfig, report: Report, *, json_file: Path | None = None) -> dict[str, Any]:
    """Write ``eval/metrics.json`` (and ``json_file``); returns what it holds. Raises ``MissingStage``, ``BadInput``."""
    if config.frames < 2 or config.num_views < 1 or config.size < 16:
        raise BadInput("eval needs at least 2 frames, 1 view and 16 pixels.")
    asset = load_moving_asset(run, config.source, config.device)
    report(Started("eval", config.num_views))
    metrics = on_gaussians(asset, config) | on_renders(asset, config, report)
    report(Finished("eval"))
    result = {
        "run": str(run.path),
        "source": asset.source,
        "prompt": asset.prompt,
        "num_gaussians": asset.gaussians.num_gaussians,
        "frames": config.frames,
        "views": config.num_views,
        "metrics": metrics,
    }
    for path in filter(None, (run.path / "eval" / "metrics.json", json_file)):
        write_json(path, result)
        report(Wrote(path, "metrics with their definitions"))
    return result


def _metric(value: float, unit: str, definition: str) -> dict[str, Any]:
    return {"value": value, "unit": unit, "definition": definition}


@torch.no_grad()
def on_gaussians(asset: MovingAsset, config: EvaluateConfig) -> dict[str, Any]:
    """Metrics that need no picture."""
    rest = asset.gaussians.means
    means, _ = asset.at(frame_times(config.frames, config.device))
    neighbours, distances = nearest_neighbours(rest, config.neighbours)
    diagonal = float((rest.amax(0) - rest.amin(0)).norm())
    residual = float(arap(means / diagonal, rest / diagonal, neighbours, distances / diagonal))
    change = neighbour_distance_change(means, rest, neighbours)
    return {
        "motion_amplitude": _metric(
            motion_amplitude(means, rest), "% of diagonal", "mean over Gaussians of the largest distance from rest"
        ),
        "tv3d": _metric(
            100.0 * float(tv3d(means)) / diagonal, "% of diagonal", "mean L1 step between frames (Animus3D, Eq. 13)"
        ),
        "jerk": _metric(jerk(means, rest), "diagonals / clip^3", "mean length of the third difference over frames"),
        "arap_residual": _metric(
            1e6 * residual, "1e-6 diagonal^2", f"Animus3D, Eq. 14, over {neighbours.shape[1]} neighbours"
        ),
        "neighbour_distance_change": _metric(
            change, "%", f"mean relative change of the distance to {neighbours.shape[1]} neighbours"
        ),
    }


@torch.no_grad()
def on_renders(asset: MovingAsset, config: EvaluateConfig, report: Report) -> dict[str, Any]:
    """Metrics on pictures from ``num_views`` azimuths: the canonical frame against the asset at rest, stray alpha."""
    rasterizer = choose(config.device, config.raster)
    means, quats = asset.at(frame_times(config.frames, config.device))
    low, high = means.amin(dim=(0, 1)), means.amax(dim=(0, 1))
    solid = asset.gaussians.opacities > SOLID
    solid = solid if solid.any() else torch.ones_like(solid)
    ratios, similarities, stray = [], [], []
    for view in range(config.num_views):
        camera = orbit_camera(
            azimuth_deg=360.0 * view / config.num_views,
            elevation_deg=config.elevation_deg,
            radius=fitting_radius(low, high, 35.0),
            fov_deg=35.0,
            width=config.size,
            height=config.size,
            target=0.5 * (low + high),
        ).to(config.device)
        cameras, white = [camera] * config.frames, torch.ones(3, device=config.device)
        moving = render(asset.gaussians, cameras, rasterizer, means=means, quats=quats, background=white)
        still = render(asset.gaussians, [camera], rasterizer, background=white).rgb[0]
        ratios.append(psnr(moving.rgb[0], still))
        similarities.append(ssim(moving.rgb[0], still))
        for frame in range(config.frames):
            pixels = _project(means[frame, solid], camera)
            stray.append(off_object_alpha(moving.alpha[frame, ..., 0].cpu(), pixels.cpu(), REACH * config.size))
        report(Progress(view + 1))
    where = f"{config.num_views} azimuths, {config.size} px"
    return {
        "off_object_alpha": _metric(
            100.0 * sum(stray) / len(stray),
            "%",
            f"opacity farther than {REACH} image sides from every solid Gaussian; {where}, {config.frames} frames",
        ),
        "canonical_psnr": _metric(
            sum(ratios) / len(ratios), "dB", f"frame 0 against the static asset; {where}; at most 100"
        ),
        "canonical_ssim": _metric(
            sum(similarities) / len(similarities), "", f"frame 0 against the static asset; {where}"
        ),
    }


def _project(points: Tensor, camera: Camera) -> Tensor:
    """Pixel positions [M, 2] of world points [M, 3]."""
    x, y, z = (points @ camera.viewmat[:3, :3].T + camera.viewmat[:3, 3]).unbind(dim=-1)
    return torch.stack([camera.K[0, 0] * x / z + camera.K[0, 2], camera.K[1, 1] * y / z + camera.K[1, 2]], dim=-1)
