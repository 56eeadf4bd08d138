"""Following videos, measured: ``python -m tests.bench.bench_views [PART...]``, or ``make bench-views`` for all parts.

    renders  fits to true renders of held-out clips: 8 views of 64 px, 4 views of 256 px; from colours and silhouettes
             alone, with the true pixel flow, and as ``distill --video`` does, with the estimated one
    video    one and two cameras, 256 px, 24 frames, as ``distill --video`` does, with and without what it assumes
    exact    MSD on the exact prior of four joint views, ten seeds, without blur (an hour)
    stages   match on samples of the exact prior, four joint views or four single ones, before and after 4D-SDS

Each part that is run replaces its figures in ``results/views.json``; the last line is JSON. Of a fit: ``ratio`` is its
distance from the true clip over that of the asset at rest, ``cosine`` that of all displacements, ``amplitude`` how far
it goes over how far it should, ``agree`` the share of movement that one motion in space explains of what cameras see.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from torch import Tensor

from stages.cameras import Camera, fitting_radius, orbit_camera
from stages.conventions import frame_times, step_generator
from stages.distill_videos import VideosConfig, field_for
from stages.distilling.clean_score import CleanScore, CleanScoreConfig
from stages.distilling.draw_videos import Drawing
from stages.distilling.following import Following
from stages.distilling.given import shrunk
from stages.distilling.sideways import Sideways
from stages.distilling.tracks import Tracks, estimated_tracks, tracks_of
from stages.gaussians import Frames, Gaussians
from stages.guides import Guide
from stages.guides.cutout import cut_out
from stages.metrics.trajectory import compare
from stages.motion.interface import Motion
from stages.motion.kinds import new_motion
from stages.priors.exact_views import ExactViewsPrior
from stages.priors.parameterization import Parameterization
from stages.raster import choose, render
from stages.raster.render import render_flow
from stages.refine import RefineConfig
from stages.settings import with_settings
from stages.zoo.clips import rigged_clip
from tests.bench.exact import build_world, ddpm_betas, exact_config
from tests.bench.exact_views import distil_joint
from tests.bench.held_out import CASES, FOV_DEG, NUM_GAUSSIANS
from tests.bench.record import RESULTS, finish, provenance

Figures = dict[str, Any]
SEEN = ("trex-walk", "cow-jump", "cow-run", "robotexpressive-wave")
"""A walk, a jump, a gallop and a wave."""
FILMED = ("trex-walk", "cow-jump", "cow-run", "trex-run", "trex-jump", "robotexpressive-walk")
IN_DEPTH = ("robotexpressive-wave", "robotexpressive-dance")
FACING_DEG = 0.0
AT_REST = 0.7


def clip_of(name: str, frames: int) -> Frames:
    """The true clip of a case; its asset stands at rest."""
    [case] = [case for case in CASES if case.name.endswith(name)]
    return rigged_clip(case.rig, case.verb, frames, NUM_GAUSSIANS, torch.Generator().manual_seed(0))


def cameras(asset: Gaussians, azimuths: Sequence[float], size_px: int) -> list[Camera]:
    """Around an asset, all at one height."""
    low, high = asset.bounds()
    return [
        orbit_camera(
            azimuth_deg=azimuth, elevation_deg=12.0, radius=fitting_radius(low, high, FOV_DEG, 0.75), fov_deg=FOV_DEG,
            width=size_px, height=size_px, target=0.5 * (low + high),
        )
        for azimuth in azimuths
    ]  # fmt: skip


@torch.no_grad()
def filmed(frames: Frames, camera: Camera) -> Guide:
    """What a camera sees of ``frames``, on white."""
    seen = render(frames, [camera] * frames.num_frames, choose("cpu"), background=torch.ones(3))
    still = render(frames.asset, [camera], choose("cpu")).alpha[0, ..., 0] > 0.5
    first = seen.alpha[0, ..., 0] > 0.5
    overlap = float((first & still).sum() / (first | still).sum().clamp(min=1))
    return Guide(
        camera=camera,
        rgb=seen.rgb.clamp(0.0, 1.0),
        mask=seen.alpha[..., 0],
        times=frame_times(frames.num_frames),
        background=torch.ones(3),
        starts_at_rest=overlap > AT_REST,
    )


@torch.no_grad()
def true_tracks(frames: Frames, camera: Camera) -> Tracks:
    """Tracks from the pixel flow of ``frames`` themselves."""
    flow, alpha = render_flow(frames.asset, camera, choose("cpu"), frames.means)
    return tracks_of(frames.asset, camera, flow / alpha.clamp(min=1e-3), (alpha[..., 0] > 0.5).float(), choose("cpu"))


def fitted(
    asset: Gaussians, guides: list[Guide], tracks: list[Tracks], config: VideosConfig
) -> tuple[Motion, Following]:
    """The motion that ``config`` finds, as ``distill --video`` does without a sentence."""
    fit = Following(
        asset, [shrunk(guide, config.render_px) for guide in guides], tracks, config.follow, choose("cpu"),
        steps=config.steps, seed=config.seed,
    )  # fmt: skip
    motion = new_motion(field_for(config, guides), asset, config.seed)
    regularizers = [*motion.regularizers(asset, config.regularizers)]
    if config.sideways_weight:
        regularizers.append(Sideways(config.sideways_weight, asset, FACING_DEG))
    optimiser = torch.optim.Adam(motion.parameter_groups(config.learning_rate))
    for step in range(config.steps):
        loss = fit.step(motion, regularizers, step)["loss"]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return motion, fit


def figures(truth: Frames, means: Tensor) -> Figures:
    """How near ``means`` [T, N, 3] are to the true ones."""
    found = compare(means, truth.means, truth.asset.means)
    names = ("ratio", "cosine", "amplitude")
    return {name: round(float(getattr(found, name)), 3) for name in names}


def measured(truth: Frames, guides: list[Guide], tracks: list[Tracks], config: VideosConfig) -> Figures:
    """Fit, and compare with the truth."""
    begun = time.perf_counter()
    motion, fit = fitted(truth.asset, guides, tracks, config)
    with torch.no_grad():
        found = figures(truth, motion.at(truth.asset, fit.times).means)
    agree = None if fit.agreement is None else round(fit.agreement, 3)
    return {**found, "agree": agree, "seconds": round(time.perf_counter() - begun, 1)}


def renders() -> Figures:
    """See the module."""
    usual = VideosConfig()
    ways = {
        "pixels": {"follow.flow_weight": 0.0, "steps": 300, "learning_rate": 1e-2, "sideways_weight": 0.0,
                   "regularizers.arap_weight": 12.0, "regularizers.neighbours": 8},
        "true flow": {"follow.rgb_weight": 0.0, "follow.mask_weight": 0.0},
        "as usual": {},
    }  # fmt: skip
    found: Figures = {}
    for name in SEEN:
        truth = clip_of(name, 16)
        for label, azimuths, size in (("8 x 64", range(0, 360, 45), 64), ("4 x 256", range(45, 405, 90), 256)):
            guides = [filmed(truth, camera) for camera in cameras(truth.asset, list(azimuths), size)]
            estimated = [estimated_tracks(truth.asset, guide, choose("cpu")) for guide in guides]
            true = [true_tracks(truth, guide.camera) for guide in guides]
            for way, changed in ways.items():
                if label == "4 x 256" and way == "pixels":
                    continue
                config = with_settings(usual, changed)
                tracks = true if way == "true flow" else estimated
                found.setdefault(f"{label}, {way}", {})[name] = measured(truth, guides, tracks, config)
                print(label, way, name, found[f"{label}, {way}"][name], flush=True)
    return found


def video() -> Figures:
    """See the module."""
    ways: dict[str, tuple[tuple[float, ...], Figures]] = {
        "one camera": ((45.0,), {}),
        "two cameras": ((45.0, 315.0), {}),
        "one camera, sideways free": ((45.0,), {"sideways_weight": 0.0}),
    }
    found: Figures = {}
    for name in (*FILMED, *IN_DEPTH):
        truth = clip_of(name, 24)
        for way, (azimuths, changed) in ways.items():
            if way not in ("one camera", "two cameras") and name in IN_DEPTH:
                continue
            begun = time.perf_counter()
            guides = [filmed(truth, camera) for camera in cameras(truth.asset, azimuths, 256)]
            tracks = [estimated_tracks(truth.asset, guide, choose("cpu")) for guide in guides]
            before = time.perf_counter() - begun
            row = measured(truth, guides, tracks, with_settings(VideosConfig(), changed))
            found.setdefault(way, {})[name] = {**row, "seconds": round(row["seconds"] + before, 1)}
            print(way, name, found[way][name], flush=True)
    for way, rows in list(found.items()):
        found[f"median cosine, {way}"] = median(rows[name]["cosine"] for name in FILMED if name in rows)
    return found


def exact(seeds: Sequence[int] = range(10)) -> Figures:
    """See the module. Seeds that are recorded are not run again."""
    config = with_settings(exact_config(), {"score.blur": 0.0, "steps": 300})
    for seed in seeds:
        ratios = recorded().get("exact", {}).get("ratios", {})
        if str(seed) in ratios:
            continue
        seeded = replace(config, seed=seed)
        ratios[str(seed)] = round(distil_joint(build_world(seeded), seeded), 4)
        print(f"seed {seed}  ratio {ratios[str(seed)]:.3f}", flush=True)
        found = {"ratios": ratios, "median": median(ratios.values()), "worst": max(ratios.values())}
        keep("exact", {**found, "steps": config.steps})
    return dict(recorded()["exact"])


def stages() -> Figures:
    """See the module."""
    found: Figures = {}
    for name in ("cow-jump", "trex-walk", "cow-run"):
        truth = clip_of(name, 16)
        schedule = Parameterization.from_betas(ddpm_betas(), "epsilon")
        loop = name != "cow-jump"
        bank = torch.stack([shifted(truth.means, phase, loop) for phase in range(15 if loop else 1)])
        for label, num_views in (("joint", 4), ("single", 1)):
            prior = ExactViewsPrior(truth.asset, {"clip": bank}, schedule, num_views=num_views)
            guides = sampled(prior, truth.asset, views=4)
            tracks = [estimated_tracks(truth.asset, guide, choose("cpu")) for guide in guides]
            motion, fit = fitted(truth.asset, guides, tracks, VideosConfig())
            times = fit.times
            with torch.no_grad():
                before = nearest(truth.asset, bank, motion.at(truth.asset, times).means)
            refined(motion, prior, truth.asset)
            with torch.no_grad():
                after = nearest(truth.asset, bank, motion.at(truth.asset, times).means)
            found[f"{name}, {label}"] = {
                "agree": None if fit.agreement is None else round(fit.agreement, 3),
                "match": before,
                "match + 4D-SDS": after,
            }
            print(name, label, found[f"{name}, {label}"], flush=True)
            keep("stages", found)
    return found


def nearest(asset: Gaussians, bank: Tensor, means: Tensor) -> Figures:
    """``figures`` against the one of ``bank`` [P, T, N, 3] that is nearest: samples begin at any phase."""
    away = [float((clip - means).norm()) for clip in bank]
    return figures(Frames(asset, bank[away.index(min(away))]), means)


def shifted(means: Tensor, phase: int, loop: bool) -> Tensor:
    """A loop [T, N, 3], whose last frame is its first, begun ``phase`` frames later."""
    return means[(torch.arange(len(means)) + phase) % (len(means) - 1)] if loop else means


def sampled(prior: ExactViewsPrior, asset: Gaussians, views: int) -> list[Guide]:
    """``views`` videos as guides, drawn V at a time."""
    guides: list[Guide] = []
    grey = torch.full((3,), 0.5)
    for number in range(views // prior.num_views):
        drawing = Drawing(
            prior, asset, grey, choose("cpu"), prompt="clip", negative="", how=prior.sampling,
            azimuth_deg=35.0 + 360.0 * number / views,
        )  # fmt: skip
        videos = drawing.draw(step_generator(0, number, stream=8), lambda done, steps: None)
        for camera, rgb in zip(drawing.cameras, videos, strict=True):
            guides.append(
                Guide(
                    camera=camera,
                    rgb=rgb,
                    mask=cut_out(rgb).mask,
                    times=frame_times(len(rgb)),
                    background=grey,
                    starts_at_rest=False,
                )
            )
    return guides


def refined(motion: Motion, prior: ExactViewsPrior, asset: Gaussians, steps: int = 60) -> None:
    """4D-SDS as ``refine --objective 4d-sds`` does."""
    grey = torch.full((3,), 0.5)
    score = CleanScore(prior, asset, grey, choose("cpu"), CleanScoreConfig(num_azimuths=4), prompt="clip", seed=0)
    regularizers = motion.regularizers(asset, RefineConfig().regularizers)
    optimiser = torch.optim.Adam(motion.parameter_groups(RefineConfig().learning_rate))
    for step in range(steps):
        frames, generator = motion.at(asset, score.times), step_generator(0, step)
        loss = score.config.weight * score.loss(frames, step)
        loss = loss + sum((term.weight * term(frames, generator) for term in regularizers), torch.zeros(()))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()


PARTS: dict[str, Callable[[], Figures]] = {"renders": renders, "video": video, "exact": exact, "stages": stages}


def main() -> None:
    """Run the parts named on the command line, all by default."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_views")
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="default: all")
    wanted = parser.parse_args().parts or list(PARTS)
    for part in wanted:
        keep(part, PARTS[part]())


def recorded() -> Figures:
    """What all parts have found so far."""
    path = RESULTS / "views.json"
    return json.loads(path.read_text()) if path.exists() else {}


def keep(part: str, found: Figures) -> None:
    """Record what a part has found."""
    record = recorded()
    record.pop("provenance", None)
    record[part] = found | {"made": provenance(f"python -m tests.bench.bench_views {part}")}
    finish("views", record)


if __name__ == "__main__":
    main()
