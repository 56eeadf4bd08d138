"""Does what comes out do what the sentence says, on bodies never trained on? ``python -m tests.bench.bench_verbs``

Prints one JSON object as its last line, from the saved results of the last full run: ``top1`` (share of distilled
clips, 13 prompts x 3 seeds, that the classifier names as prompted), ``chance``, ``true_clip_top1`` (the same for the
files' own clips), ``sds_top1`` (plain SDS in place of the default settings), ``amplitude_ratio`` (median over the
distilled clips of how far limbs go relative to the torso, over the true clip's).

``--full WORK`` makes the results again: run directories in WORK, which a second start goes on with.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from torch import Tensor

from stages import distill, fit_lora
from stages.conventions import frame_times, step_generator
from stages.events import silent
from stages.gaussians import Frames
from stages.media.contact_sheet import contact_sheet, write_png
from stages.moving.asset import load_moving_asset
from stages.objectives.sampling import ddim_denoise
from stages.priors.load import load_prior
from stages.priors.prior import Condition
from stages.run_dir import RunDir
from stages.settings import with_settings
from tests.bench.held_out import CASES, NUM_FRAMES, Case, cameras_around, film, measure, name_verb
from tests.bench.record import RESULTS, finish, provenance
from tests.bench.verb_classifier import CLASSES, load_classifier

SEEDS = range(3)
DOCS = Path(__file__).parents[2] / "docs" / "pictures"
RUNS = RESULTS / "verbs_runs.json"
DEFAULT = distill.PRESETS["default"]
SDS = {"score.objective": "sds", "pixel_flow.weight": 0.0, "score.every": 1}
RECIPES = {"default": DEFAULT, "sds": with_settings(DEFAULT, SDS)}


def main() -> None:
    """Say what the saved results say; with ``--full WORK`` make them first."""
    if sys.argv[1:2] == ["--full"]:
        full(Path(sys.argv[2]))
    runs = json.loads(RUNS.read_text())
    finish("verbs", summary(runs["runs"]) | {"made_by": runs["provenance"]})


def full(work: Path) -> None:
    """Distil every case by every recipe with every seed, sample the prior, judge all that and the truth; write it.

    What is there is written whenever every case has had another recipe or seed, so that a run cut short says something.
    """
    blocks = [("default", seed) for seed in SEEDS]
    blocks += [(recipe, seed) for seed in SEEDS for recipe in ("sds", "sample")]
    jobs = [(work, case.name, recipe, seed) for recipe, seed in blocks for case in CASES]
    results = []
    for case in CASES:
        truth = case.truth()
        still = Frames.at_rest(truth.asset, NUM_FRAMES)
        results += [judged(case, "true", 0, truth), judged(case, "static", 0, still)]
    for body in {case.rig.file: case for case in CASES}.values():
        prepare(work, body)
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for result in pool.map(run_job, jobs):
            print(f"{result['case']:24s} {result['recipe']:8s} seed {result['seed']}  {result['named']}", flush=True)
            results.append(result)
            if len(results) % len(CASES) == 0:
                RUNS.write_text(
                    json.dumps({"runs": results, "provenance": provenance("make bench-verbs-full")}, indent=1) + "\n"
                )
    sheets(work)


def prepare(work: Path, case: Case) -> RunDir:
    """A run with the body as a static splat and its static LoRA."""
    run = RunDir(work / case.rig.file.removesuffix(".glb"))
    run.path.mkdir(parents=True, exist_ok=True)
    run.put_asset(case.truth().asset, case.rig.file, force=False)
    fit_lora.run(run, replace(fit_lora.PRESETS["default"], object=case.rig.nouns[0]), silent)
    return run


def run_job(job: tuple[Path, str, str, int]) -> dict[str, Any]:
    """One case by one recipe with one seed."""
    work, name, recipe, seed = job
    case = next(case for case in CASES if case.name == name)
    if recipe == "sample":
        return verdict(case, recipe, seed, samples(case, seed))
    run = motion_run(work, case, recipe, seed)
    run.copy_from(RunDir(work / case.rig.file.removesuffix(".glb")), before="distill")
    distill.run(run, replace(RECIPES[recipe], prompt=case.prompt, seed=seed, preview_every=0), silent)
    seconds = json.loads((run.path / "motion" / "complete.json").read_text())["seconds"]
    return judged(case, recipe, seed, moving(run)) | {"seconds": seconds}


def motion_run(work: Path, case: Case, recipe: str, seed: int) -> RunDir:
    """The run directory of one motion."""
    return RunDir(work / f"{case.name}-{recipe}-{seed}")


def moving(run: RunDir) -> Frames:
    """The motion in a run."""
    return load_moving_asset(run, "motion", "cpu").at(frame_times(NUM_FRAMES))


@torch.no_grad()
def samples(case: Case, seed: int) -> list[Tensor]:
    """What the prior itself paints for a case, from every camera: 16 steps, guidance 3."""
    prior, asset = load_prior("embedded"), case.truth().asset
    films = []
    last = prior.parameterization.num_timesteps - 1
    for view, camera in enumerate(cameras_around(asset, prior.clip.height)):
        still = prior.encode(film(Frames.at_rest(asset), camera))
        noise = torch.randn(1, still.shape[1], NUM_FRAMES, *still.shape[3:], generator=step_generator(seed, view))
        said, null = (Condition(prior.encode_text([words]), still[:, :, 0]) for words in (case.prompt, ""))
        films.append(prior.decode(ddim_denoise(prior, noise, last, said, 16, negative=null, guidance=3.0)))
    return films


def judged(case: Case, recipe: str, seed: int, frames: Frames) -> dict[str, Any]:
    """What the classifier and the measures say of one motion."""
    truth = case.truth()
    films = [film(frames, camera) for camera in cameras_around(truth.asset)]
    found = measure(frames, truth)
    return verdict(case, recipe, seed, films) | {key: round(value, 6) for key, value in found.items()}


def verdict(case: Case, recipe: str, seed: int, films: list[Tensor]) -> dict[str, Any]:
    """What the classifier says of one motion filmed from several sides."""
    shares = name_verb(load_classifier(), films)
    return {
        "case": case.name,
        "prompt": case.prompt,
        "verb": case.verb,
        "recipe": recipe,
        "seed": seed,
        "named": max(shares, key=shares.__getitem__),
        "share": round(shares[case.verb], 4),
    }


def sheets(work: Path) -> None:
    """Pictures for ``docs``: the truth, and below it what was distilled, or sampled, with seed 0."""
    distilled, sampled = [], []
    for case in CASES:
        truth, view = case.truth(), 0 if case.verb in ("fly", "wave", "dance") else 1
        camera = cameras_around(truth.asset, 72)[view]
        true_film = film(truth, camera)[::2]
        found = moving(motion_run(work, case, "default", 0))
        distilled += [true_film, film(found, camera)[::2]]
        small = film(truth, cameras_around(truth.asset)[view])[::2]
        sampled += [small, samples(case, 0)[view][::2]]
    for name, strips in (("held_out", distilled), ("samples", sampled)):
        write_png(DOCS / f"{name}.png", contact_sheet(torch.cat(strips), columns=2 * len(strips[0])))


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of the benchmark, from the results of single clips."""
    of = {recipe: [run for run in runs if run["recipe"] == recipe] for recipe in ("true", "static", "sample", *RECIPES)}
    truth = {run["case"]: run for run in of["true"]}

    def top1(recipe: str) -> float:
        return round(mean(run["named"] == run["verb"] for run in of[recipe]), 4)

    def to_truth(recipe: str, key: str) -> float:
        return round(median(run[key] / max(truth[run["case"]][key], 1e-6) for run in of[recipe]), 4)

    def limbs_over_torso(recipe: str) -> float:
        def quotient(run: dict[str, Any]) -> float:
            return run["limbs"] / max(run["torso"], 1e-4)

        return round(median(quotient(run) / quotient(truth[run["case"]]) for run in of[recipe]), 4)

    verbs = Counter(case.verb for case in CASES)
    return {
        "top1": top1("default"),
        "chance": round(1.0 / len(CLASSES), 4),
        "true_clip_top1": top1("true"),
        "sds_top1": top1("sds"),
        "amplitude_ratio": to_truth("default", "limbs_to_torso"),
        "sds_amplitude_ratio": to_truth("sds", "limbs_to_torso"),
        "limbs_over_torso_to_truth": limbs_over_torso("default"),
        "arap_to_truth": to_truth("default", "arap"),
        "colour_drift_to_truth": to_truth("default", "colour_drift"),
        "static_top1": top1("static"),
        "sample_top1": top1("sample"),
        "most_frequent_verb": round(max(verbs.values()) / len(CASES), 4),
        "clips": {recipe: len(runs) for recipe, runs in of.items()},
        "by_case": {
            case.name: [
                run["named"] for recipe in ("true", "default", "sds") for run in of[recipe] if run["case"] == case.name
            ]
            for case in CASES
        },
        "seconds_median": median(run["seconds"] for run in of["default"]),
    }


if __name__ == "__main__":
    main()
