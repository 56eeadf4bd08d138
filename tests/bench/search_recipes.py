"""The search behind the defaults of ``distill``: ``python -m tests.bench.search_recipes CANDIDATE...``

Every candidate animates the same bodies, whose true clips are known, and is measured against them. Lines are added to
``results/recipes.jsonl``; without names, a table of what is there is printed. Held-out bodies are never used here.

The default is the candidate with the highest mean ``score``, unless its ARAP residual is beyond twice the true one in
the median: the right motion (cosine with the true displacements) in the right amount (limbs relative to the torso).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import mean, median
from typing import Any

import torch

from stages.distill import PRESETS, DistillConfig
from stages.gaussians import Frames
from stages.metrics.trajectory import displacement_cosine
from stages.motion.kinds import new_motion
from stages.priors.find import prior_fingerprint
from stages.priors.load import load_prior
from stages.priors.lora import add_adapter
from stages.zoo.captions import INFLECTIONS
from stages.zoo.clips import procedural_clip, rigged_clip
from stages.zoo.rigs import find_rig
from tests.bench.held_out import measure
from tests.bench.record import RESULTS, provenance
from tests.bench.steps import distillation_of

TASKS = (
    ("Deer.glb", "walk", "deer"),
    ("Horse.glb", "run", "horse"),
    ("Leela.glb", "walk", "robot"),
    ("bird", "fly", "bird"),
    ("Wolf.glb", "attack", "wolf"),
    ("biped", "wave", "person"),
    ("fish", "swim", "fish"),
    ("insect", "fly", "insect"),
    ("theropod", "run", "dinosaur"),
)
"""Body, verb, noun: seven that go in cycles, two that do not; legs, wings, an arm, a tail."""

LOG = RESULTS / "recipes.jsonl"


def main() -> None:
    """Run the candidates named on the command line, as ``"name:setting=value setting=value"``, then print all."""
    jobs = [(candidate, task) for candidate in sys.argv[1:] for task in TASKS]
    made_with = {"prior": prior_fingerprint("embedded-video").split()[-1], "commit": provenance("")["commit"]}
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for line in pool.map(run, *zip(*jobs, strict=True)) if jobs else ():
            print(line, flush=True)
            with LOG.open("a") as log:
                log.write(json.dumps(line | made_with) + "\n")
    if LOG.exists():
        table([json.loads(line) for line in LOG.read_text().splitlines()])


def true_clip(body: str, verb: str) -> Frames:
    """What the body does when its file, or its builder, says so."""
    if body.endswith(".glb"):
        rig = find_rig(body)
        return rigged_clip(rig, verb, 16, 2000, torch.Generator().manual_seed(0))
    return procedural_clip(body, verb, 16, 2000, torch.Generator().manual_seed(4))


def config_of(candidate: str, prompt: str) -> DistillConfig:
    """The default settings with those that a candidate names."""
    from animus3d_cli.settings import build_config

    settings = candidate.partition(":")[2].split()
    return build_config(PRESETS, "default", {"prompt": prompt}, settings)


def run(candidate: str, task: tuple[str, str, str]) -> dict[str, Any]:
    """Distil one task with one candidate; how near the true clip it comes.

    ``cosine`` is between all displacements, ``ratio`` the mean distance to the true clip over that of the asset at
    rest, ``limbs`` how far limbs go relative to the torso over how far they should.
    """
    body, verb, noun = task
    clip = true_clip(body, verb)
    config = config_of(candidate, f"a {INFLECTIONS[verb][1]} {noun}")
    prior, asset = load_prior(config.prior), clip.asset
    assert prior.denoiser is not None
    add_adapter(prior.denoiser, rank=4, alpha=4.0, seed=0)  # untrained, so that it changes nothing
    distillation = distillation_of(asset, prior, config, f"{config.negative_prompt}, {noun}")
    field = new_motion(config.motion, asset, config.seed)
    regularizers = field.regularizers(asset, config.regularizers)
    optimiser = torch.optim.Adam(field.parameter_groups(config.learning_rate))
    began = time.time()
    for step in range(config.steps):
        loss = distillation.step(field, regularizers, step)["loss"]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    seconds = time.time() - began
    with torch.no_grad():
        frames = field.at(asset, distillation.times)
    moved, should = frames.means - asset.means, clip.means - asset.means
    found, truth = measure(frames, clip), measure(clip, clip)
    return {
        "candidate": candidate,
        "task": f"{body.removesuffix('.glb').lower()} {verb}",
        "cosine": round(displacement_cosine(frames.means, clip.means, asset.means), 3),
        "ratio": round(float((moved - should).norm(dim=-1).mean() / should.norm(dim=-1).mean()), 3),
        "limbs": round(found["limbs_to_torso"] / truth["limbs_to_torso"], 3),
        "arap": round(found["arap"] / truth["arap"], 3),
        "seconds": round(seconds, 1),
    }


def score(line: dict[str, Any]) -> float:
    """Right motion times right amount, at most 1."""
    limbs = max(line["limbs"], 1e-6)
    return line["cosine"] * min(limbs, 1.0 / limbs)


def table(lines: list[dict[str, Any]]) -> None:
    """Means over the tasks, one line a candidate."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        groups[line["prior"], line["candidate"]].append(line)
    print("| candidate | score | cosine | ratio | limbs | ARAP over true, median | seconds | per task: cosine, limbs |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for (_, candidate), group in groups.items():
        means = [f"{mean(map(score, group)):.3f}"]
        means += [f"{mean(line[key] for line in group):.2f}" for key in ("cosine", "ratio", "limbs")]
        means += [f"{median(line['arap'] for line in group):.2f}", f"{mean(line['seconds'] for line in group):.0f}"]
        single = "; ".join(f"{line['task']} {line['cosine']:.2f}, {line['limbs']:.2f}" for line in group)
        print(f"| {candidate} | {' | '.join(means)} | {single} |")


if __name__ == "__main__":
    main()
