"""What fewer evaluations of the model cost, on the exact prior:
``python -m tests.bench.bench_evaluations [NAME...] [--seeds N]``

A step of ``distill --preset published`` asks the model ``inversion_steps + 2`` times (guidance is two), and the static
branch once for each camera and timestep that comes up. Candidates have fewer of these than the preset, or more, as
plain runs of 5,000 steps have. Others let the gradient through few frames of a clip, drawn anew in each step, which
would spare an autoencoder of single frames the way back through the others. What is missing is run and added to
``results/evaluations.json``, each with its own ``provenance``; of those that have none only the last command is known,
which stands at the end of the file. The last line is JSON: the median ratio (see ``tests.bench.exact``) and the
evaluations of every candidate run so far.
"""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from statistics import median
from typing import Any

import torch
from torch import Tensor

from stages.settings import with_settings
from tests.bench.exact import build_world, distil, exact_config
from tests.bench.record import RESULTS, provenance

CANDIDATES: dict[str, dict[str, Any]] = {
    "5 inversion steps": {"score.inversion_steps": 5, "score.blur": 0.0},
    "2 inversion steps": {"score.blur": 0.0},
    "1 inversion step": {"score.inversion_steps": 1, "score.blur": 0.0},
    "300 steps": {"steps": 300, "score.blur": 0.0},
    "5,000 steps": {"score.inversion_steps": 5, "steps": 5000, "score.blur": 0.0},
    "4 frames of 16": {"score.blur": 0.0},
    "blurred at first": {},  # the preset
    "blurred at first, 300 steps": {"steps": 300},
}
GRADIENT_FRAMES = {"4 frames of 16": 4}
"""Through how many frames the gradient goes, of candidates where that is not all."""
LOG = RESULTS / "evaluations.json"


def main() -> None:
    """Run what is missing of the candidates named on the command line; say what all runs so far say."""
    parser = ArgumentParser(prog="python -m tests.bench.bench_evaluations")
    parser.add_argument("names", nargs="*", help=f"of: {', '.join(CANDIDATES)}")
    parser.add_argument("--seeds", type=int, default=5)
    wanted = parser.parse_args()
    if unknown := set(wanted.names) - set(CANDIDATES):
        parser.error(f"no candidate is called {unknown}")
    log = json.loads(LOG.read_text()) if LOG.exists() else {"runs": []}
    there = {(line["candidate"], line["seed"]) for line in log["runs"]}
    jobs = [job for job in product(wanted.names, range(wanted.seeds)) if job not in there]
    made_by = provenance(f"python -m tests.bench.bench_evaluations {' '.join(map(repr, sys.argv[1:]))}")
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for done in pool.map(run, *zip(*jobs, strict=True)) if jobs else ():
            print(done, flush=True)
            log["runs"].append(done | {"provenance": made_by})
            LOG.write_text(json.dumps(log, indent=1) + "\n")
    print(json.dumps({name: of for name in CANDIDATES if (of := summary(log["runs"], name))}))


def run(name: str, seed: int) -> dict[str, Any]:
    """One candidate with one seed."""
    config = with_settings(exact_config(), {**CANDIDATES[name], "seed": seed})
    world = build_world(config)
    predict, evaluations = world.prior.predict, 0

    def counted(latents: Tensor, *rest: Any) -> Tensor:
        nonlocal evaluations
        evaluations += latents.shape[0]
        return predict(latents, *rest)

    world.prior.predict = counted  # type: ignore[method-assign]
    if name in GRADIENT_FRAMES:
        encode = through_few_frames(world.prior.encode, GRADIENT_FRAMES[name], seed)
        world.prior.encode = encode  # type: ignore[method-assign]
    ratio, _ = distil(world, config)
    return {"candidate": name, "seed": seed, "ratio": round(ratio, 4), "evaluations": evaluations}


def through_few_frames(encode: Callable[[Tensor], Tensor], count: int, seed: int) -> Callable[[Tensor], Tensor]:
    """``encode`` with the same latents, and the gradient of ``count`` random frames times T / count: on the mean over
    draws that of all."""
    generator = torch.Generator().manual_seed(seed)

    def encoding(frames: Tensor) -> Tensor:
        if not frames.requires_grad:
            return encode(frames)
        share = torch.zeros(len(frames), 1, 1, 1)
        share[torch.randperm(len(frames), generator=generator)[:count]] = len(frames) / count
        return encode(frames.detach() + share * (frames - frames.detach()))

    return encoding


def summary(runs: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Medians of one candidate; empty when it has not been run."""
    own = sorted((line for line in runs if line["candidate"] == name), key=lambda line: line["seed"])
    if not own:
        return {}
    return {
        "ratio_median": median(line["ratio"] for line in own),
        "evaluations": median(line["evaluations"] for line in own),
        "ratios": [line["ratio"] for line in own],
    }


if __name__ == "__main__":
    main()
