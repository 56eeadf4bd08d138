"""The paper's ablations on the exact prior: ``python -m tests.bench.bench_ablation [NAME...] [--steps N] [--seeds N]``

Ten bodies, each with the bank of clips of its own cycle, three seeds, every variant of ``stages.ablation`` that an
exact prior can tell apart: it has no LoRA, since its static branch is exact already, and says no flow. Results are
added to ``results/ablation_exact.csv`` one by one, so that a second start goes on; the last line is JSON: the mean of
each figure with its interval, and the verdict on each ordering.

In pixels this prior makes up its mind at once: what is left to ask is what it says while it has not. ``--latent-px 8``
has it see means over squares of 8 pixels, as published models' autoencoders do, and ``--timestep-min 0.6`` asks it from
there to 0.98 only, to the end. Such runs, and those with other ``--steps``, have files of their own.

``ratio`` is the distance to the nearest true clip over that of the static asset (see ``tests.bench.exact``),
``amplitude_to_truth`` the motion's amplitude over the true clips'; the other figures are those of ``eval``.
"""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from stages.ablation.orderings import orderings, summary
from stages.ablation.variants import VARIANTS, Variant, names_for
from stages.conventions import frame_times
from stages.distill import DistillConfig
from stages.evaluate import EvaluateConfig, on_gaussians, on_renders
from stages.metrics.motion import motion_amplitude
from stages.moving.asset import MovingAsset
from stages.raster.film import film
from stages.settings import with_settings
from stages.zoo.rigs import find_rig
from tests.bench.exact import NUM_FRAMES, SIZE_PX, World, build_world, distilled, exact_config, moved
from tests.bench.record import RESULTS, provenance, read_rows, write_rows

TASKS = {
    "wolf": "walk", "deer": "walk", "horse": "walk", "shibainu": "walk", "fox": "walk", "stegosaurus": "walk",
    "parasaurolophus": "walk", "knight": "walk", "crab": "walk", "dolphin": "swim",
}  # fmt: skip
STEPS = 300
TIMESTEP_MIN = exact_config().score.timestep_min
TV_WEIGHT = 0.001
"""``bench_exact`` has none; here it must be there to be taken away."""

NOT_HERE = {"static-prompt", "refined", "no-flow", "no-score"}
CONTROLS = (
    Variant("full-1", "the full method without guidance", {"score.guidance": 1.0}),
    Variant("sds-1", "score distillation without guidance", {"score.objective": "sds", "score.guidance": 1.0}),
    Variant(
        "fixed-noise",
        "random noise, the same whenever a camera is used",
        {"score.inversion_steps": 0, "score.start_noise": "fixed", "score.own_noise": True},
    ),
    Variant(
        "blurred",
        "residuals blurred at first",
        {f"score.{name}": getattr(exact_config().score, name) for name in ("blur", "blur_until")},
    ),
)
"""The first two because the null prompt of this prior is a mixture with the clips that stand still, so that guidance
away from it might do a static branch's work; the third because the noise from which inversion starts is fixed too; the
last because the preset for published models has it, chosen on one body: ``full blurred --steps 600 --seeds 1``."""
NAMED = ("task", "seed", "variant")
OURS = [*(variant for variant in VARIANTS if variant.name not in NOT_HERE), *CONTROLS]


def main() -> None:
    """Run what is missing; say what all runs so far say."""
    parser = ArgumentParser(prog="python -m tests.bench.bench_ablation")
    parser.add_argument(
        "names", nargs="*", default=[variant.name for variant in OURS if variant.name in names_for(points=False)]
    )
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--latent-px", type=int, default=1)
    parser.add_argument("--timestep-min", type=float, default=TIMESTEP_MIN)
    wanted = parser.parse_args()
    log = log_of(wanted.steps, wanted.latent_px, wanted.timestep_min)
    runs = read_runs(log)
    done = {(run["task"], run["seed"], run["variant"]) for run in runs}
    jobs = [(task, seed, name) for seed in range(wanted.seeds) for task in TASKS for name in wanted.names]
    jobs = [(*job, wanted.steps, wanted.latent_px, wanted.timestep_min) for job in jobs if job not in done]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for result in pool.map(run, *zip(*jobs, strict=True)) if jobs else ():
            print(result, flush=True)
            runs.append(result)
            write_rows(log, [{**{name: run[name] for name in NAMED}, **run["metrics"]} for run in runs])
            made_by = provenance(" ".join(["python -m tests.bench.bench_ablation", *sys.argv[1:]]))
            log.with_suffix(".json").write_text(json.dumps({"provenance": made_by}, indent=1) + "\n")
    table = summary(runs, OURS, list(runs[0]["metrics"]))
    print(json.dumps({"table": table, "orderings": orderings(table, OURS)}))


def read_runs(log: Path) -> list[dict[str, Any]]:
    """The runs that there are already: what they are called, and their metrics."""
    return [{**{name: row.pop(name) for name in NAMED}, "metrics": row} for row in map(dict, read_rows(log))]


def log_of(steps: int, latent_px: int, timestep_min: float) -> Path:
    """Where results under these conditions are; what is as usual does not show in the name."""
    unusual = [f"_{steps}_steps"] * (steps != STEPS)
    unusual += [f"_{latent_px}px"] * (latent_px != 1)
    unusual += [f"_from_{timestep_min}"] * (timestep_min != TIMESTEP_MIN)
    return RESULTS / f"ablation_exact{''.join(unusual)}.csv"


@lru_cache(maxsize=1)
def world_of(task: str, seed: int, latent_px: int) -> World:
    """One body's world, with the cameras of one seed."""
    rig = find_rig(f"{task}.glb")
    return build_world(replace(exact_config(), seed=seed), rig, TASKS[task], latent_px)


def base_config(steps: int, timestep_min: float) -> DistillConfig:
    """What variants change. Without the blur that ``exact_config`` has: these runs were made before it had one."""
    settings = {"steps": steps, "regularizers.tv_weight": TV_WEIGHT, "score.blur": 0.0}
    settings |= {"score.timestep_min": timestep_min}
    if timestep_min != TIMESTEP_MIN:
        settings["score.timestep_max_end"] = exact_config().score.timestep_max
    return with_settings(exact_config(), settings)


def run(task: str, seed: int, name: str, steps: int, latent_px: int, timestep_min: float) -> dict[str, Any]:
    """One variant on one body with one seed."""
    world = world_of(task, seed, latent_px)
    base = replace(base_config(steps, timestep_min), seed=seed)
    config: DistillConfig = with_settings(base, next(v for v in OURS if v.name == name).settings)
    field, _ = distilled(world, config)
    means = moved(world, field)
    asset = MovingAsset(world.asset, field, "motion", config.prompt)
    settings = EvaluateConfig(frames=NUM_FRAMES, num_views=4, size=SIZE_PX)
    views = list(film(asset.at(frame_times(NUM_FRAMES)), settings.shot))
    figures = on_gaussians(asset, settings) | on_renders(asset, views, settings)
    true_amplitude = mean(motion_amplitude(clip, world.asset.means) for clip in world.truth[::8])
    amplitude = motion_amplitude(means, world.asset.means)
    metrics = {"ratio": world.ratio(means), "amplitude_to_truth": amplitude / true_amplitude}
    metrics |= {metric: figure["value"] for metric, figure in figures.items()}
    return {"task": task, "seed": seed, "variant": name, "metrics": {k: round(v, 5) for k, v in metrics.items()}}


if __name__ == "__main__":
    main()
