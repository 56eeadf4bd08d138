"""eval: numbers for a motion: on the Gaussians, on renders, by feature networks, against a set and against the truth.

    animus3d eval
    animus3d eval run1 run2 --clip openai/clip-vit-base-patch32 --truth deer.glb#Walk

1. Measure the Gaussians themselves, and how they meet the ground.
2. Film the asset from all around, once, and measure the pictures.
3. Let the feature networks look at the same pictures, alone and against a reference set.
4. Compare with the true motion, and with the videos that a prior has sampled.

Every metric says what it is and on what it was measured: that stands beside the value in ``eval/metrics.json``. What is
not available here has no value and says how to get it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stages.conventions import frame_times
from stages.errors import BadInput
from stages.evaluating.feature_networks import NetworkPlaces, Networks, load_networks
from stages.evaluating.ground_contact import on_bones, on_ground
from stages.evaluating.network_metrics import by_networks
from stages.evaluating.reference import ReferenceSet
from stages.evaluating.sampled_views import on_samples
from stages.events import Finished, Progress, Report, Started, Wrote
from stages.files import write_json
from stages.gaussians.neighbours import nearest_neighbours
from stages.media.contact_sheet import to_bytes
from stages.metrics import trajectory
from stages.metrics.catalogue import CATALOGUE, LOOPS, MORE_FRAMES, TRUTH, Entry, measured, missing
from stages.metrics.image import colour_drift, off_object_alpha, psnr, ssim
from stages.metrics.motion import jerk, motion_amplitude, neighbour_distance_change
from stages.metrics.point_distances import point_distances
from stages.metrics.video import is_dynamic, smoothness
from stages.motion.regularizers import arap, tv3d
from stages.moving.asset import MovingAsset, load_moving_asset
from stages.moving.truth import true_motion
from stages.needs import require_frames
from stages.raster.film import Filmed, Shot, film
from stages.run_dir import RunDir
from stages.settings import check

SOLID = 0.5
"""Opacity from which a Gaussian counts as part of the object."""

REACH = 0.04
"""How far from a solid Gaussian's centre, in image sides, opacity still belongs to the object."""

SIZE_PX, NETWORKS_SIZE_PX = 128, 256
"""Side of the pictures by default, and where a network looks that was trained on larger ones."""

MOST_PIXELS = 100_000_000
"""In all pictures together, each of which is held in 30 bytes until it is measured: 3 GB."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Settings of ``eval``."""

    frames: int = 16
    num_views: int = 8  # azimuths, as in the paper's CLIP-Image
    size: int | None = None  # 128, or 256 with a network that was asked for
    elevation_deg: float = 15.0
    neighbours: int = 8
    source: str = "auto"
    networks: NetworkPlaces = field(default_factory=NetworkPlaces)
    reference: str | None = None  # run, or folder of videos or frames, for FID and FVD
    truth: str | None = None  # FILE.glb#Clip, or run with the same asset
    truth_pose: str | None = None  # CLIP@SECONDS that the asset was made in; searched for when None
    truth_cycles: float = 1.0  # how often the true clip goes round in the frames
    raster: str | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        check(self, frames=2, num_views=1, size=16, neighbours=1)

    @property
    def shot(self) -> Shot:
        """How the asset is filmed."""
        places = self.networks
        asked = any((places.clip, places.dino, places.inception, places.i3d, places.raft, places.amt))
        return Shot(
            frames=self.frames,
            num_views=self.num_views,
            size=self.size or (NETWORKS_SIZE_PX if asked else SIZE_PX),
            elevation_deg=self.elevation_deg,
            raster=self.raster,
            device=self.device,
        )


PRESETS = {"default": EvaluateConfig()}


@dataclass(frozen=True)
class Tools:
    """What several runs are measured with, made once."""

    networks: Networks
    reference: ReferenceSet | None


def prepare(config: EvaluateConfig, runs: Sequence[RunDir]) -> Tools:
    """Check the settings and the runs, before any work, and load what the settings name. Errors as of ``run``."""
    shot = config.shot
    for run in runs:
        load_moving_asset(run, config.source, "cpu")
    if shot.frames * shot.num_views * shot.size**2 > MOST_PIXELS:
        raise BadInput(
            f"{shot.num_views} views of {shot.frames} frames of {shot.size} px are more than fit into memory.",
            "Lower --set size, frames or num_views.",
        )
    reference = None if config.reference is None else ReferenceSet(Path(config.reference), shot)
    return Tools(load_networks(config.networks, config.device), reference)


def run(
    run: RunDir,
    config: EvaluateConfig,
    report: Report,
    *,
    json_file: Path | None = None,
    tools: Tools | None = None,
) -> dict[str, Any]:
    """Write ``eval/metrics.json`` (and ``json_file``); returns what it holds. ``tools`` of ``prepare`` serve many runs.

    Raises:
        MissingStage: the run has no motion.
        BadInput: a setting, a checkpoint, the reference set or the truth cannot be used.
        NotAvailable: a network that was asked for is not on this machine.
    """
    require_frames(run, "eval", config.frames, "--set frames={}")
    tools = tools or prepare(config, [run])
    asset = load_moving_asset(run, config.source, config.device, report)
    metrics = against_truth(asset, config) | on_gaussians(asset, config)  # a wrong truth is told before the work
    metrics |= on_samples(run, asset, device=config.device, raster=config.raster)
    metrics |= on_ground(asset, config.frames) | on_bones(asset, config.frames)
    report(Started("eval", config.num_views + 1))  # the views, and what the networks say of them
    views = []
    frames = asset.at(frame_times(config.frames, config.device))
    for view in film(frames, config.shot):
        views.append(view)
        report(Progress(len(views)))
    metrics |= on_renders(asset, views, config)
    seen, stills = (torch.stack([to_bytes(getattr(view, name)) for view in views]) for name in ("moving", "still"))
    metrics |= by_networks(tools.networks, tools.reference, seen, stills, asset.prompt)
    report(Progress(config.num_views + 1))
    report(Finished("eval"))
    result = {
        "run": str(run.path),
        "source": asset.source,
        "prompt": asset.prompt,
        "num_gaussians": asset.gaussians.num_gaussians,
        "frames": config.frames,
        "views": config.num_views,
        "metrics": {name: metrics[name] for name in CATALOGUE},
    }
    for path in filter(None, (run.path / "eval" / "metrics.json", json_file)):
        write_json(path, result)
        report(Wrote(path, "metrics with their definitions"))
    return result


@torch.no_grad()
def on_gaussians(asset: MovingAsset, config: EvaluateConfig) -> dict[str, Entry]:
    """Metrics that need no picture."""
    rest = asset.gaussians.means
    means = asset.at(frame_times(config.frames, config.device)).means
    neighbours, distances = nearest_neighbours(rest, config.neighbours)
    diagonal = float((rest.amax(0) - rest.amin(0)).norm())
    residual = float(arap(means / diagonal, rest / diagonal, neighbours, distances / diagonal))
    frames, around = {"frames": config.frames}, {"frames": config.frames, "neighbours": neighbours.shape[1]}
    change = neighbour_distance_change(means, rest, neighbours)
    return {
        "motion_amplitude": measured("motion_amplitude", motion_amplitude(means, rest), **frames),
        "tv3d": measured("tv3d", 100.0 * float(tv3d(means)) / diagonal, **frames),
        "jerk": measured("jerk", jerk(means, rest), **frames),
        "arap_residual": measured("arap_residual", 1e6 * residual, **around),
        "neighbour_distance_change": measured("neighbour_distance_change", change, **around),
    }


def on_renders(asset: MovingAsset, views: list[Filmed], config: EvaluateConfig) -> dict[str, Entry]:
    """Metrics on pictures that need no network: the first frame against the asset at rest, stray alpha, colours,
    smoothness and how much moves."""
    solid = asset.gaussians.opacities.cpu() > SOLID
    solid = solid if solid.any() else torch.ones_like(solid)
    size, where = config.shot.size, {"views": config.num_views, "frames": config.frames, "size_px": config.shot.size}

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    stray = [
        off_object_alpha(alpha, pixels[solid], REACH * size)
        for view in views
        for alpha, pixels in zip(view.alpha, view.pixels, strict=True)
    ]
    found = {
        "off_object_alpha": 100.0 * mean(stray),
        "colour_drift": mean([colour_drift(view.moving, view.alpha, background=1.0) for view in views]),
        "canonical_psnr": mean([psnr(view.moving[0], view.still) for view in views]),
        "canonical_ssim": mean([ssim(view.moving[0], view.still) for view in views]),
        "dynamic_degree_gaussians": mean([float(is_dynamic(view.flow)) for view in views]),
    }
    entries = {name: measured(name, value, **where) for name, value in found.items()}
    if not asset.starts_at_rest:
        entries |= {name: missing(name, LOOPS) for name in ("canonical_psnr", "canonical_ssim")}
    name = "smoothness_gaussians"
    if config.frames < 3:
        return entries | {name: missing(name, MORE_FRAMES)}
    smooth = mean([smoothness(view.moving[1 : 2 * len(view.halfway) : 2], view.halfway) for view in views])
    return entries | {name: measured(name, smooth, **where)}


@torch.no_grad()
def against_truth(asset: MovingAsset, config: EvaluateConfig) -> dict[str, Entry]:
    """How far every Gaussian is from where it truly goes, and the body from the true one as sets of points."""
    names = ("trajectory_error", "trajectory_ratio", "trajectory_cosine", "amplitude_ratio", "cd_3d", "cd_4d", "cd_m")
    if config.truth is None:
        return {name: missing(name, TRUTH) for name in names}
    rest: Tensor = asset.file_gaussians.means.cpu()
    truth = true_motion(config.truth, rest, config.frames, pose=config.truth_pose, cycles=config.truth_cycles)
    means = asset.in_file(asset.at(frame_times(config.frames, config.device))).means.cpu()
    found = trajectory.compare(means, truth.means, rest)
    where = {"frames": config.frames, "reference": truth.name, "shift": found.shift, "shifts_tried": found.shifts}
    body = asset.file_gaussians.body.cpu()
    sets = point_distances(means[:, body], trajectory.shifted(truth.means, found.shift)[:, body])
    values = (found.error, found.ratio, found.cosine, found.amplitude, sets.cd_3d, sets.cd_4d, sets.cd_m)
    return {name: measured(name, value, **where) for name, value in zip(names, values, strict=True)}
