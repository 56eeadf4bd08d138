"""Whether the steps of one camera pull towards one motion or towards all that are possible in turn:
``make bench-undecided``

Of many steps with the same rendering the share |mean|^2 / mean |.|^2 of their gradients is 1 when all want the same and
0 when they cancel out. It is given for plain SDS, for MSD, whose inversion starts from one noise a camera, and for SDS
with such a noise, all without guidance.

Exact prior, median of ten bodies: gradients projected on the directions in which the phases of a clip differ; timesteps
from all of the schedule and from 0.6 up; in pixels and in latents of 8 pixels; for the asset at rest, and a quarter of
the way to one true clip. Embedded prior, median of five held-out bodies at rest, timesteps as ``distill`` has them: the
whole gradient, for the motions that it thinks possible are not known one by one, so that its errors count as
indecision. Results: ``results/undecided.json``.
"""

from __future__ import annotations

from itertools import product
from statistics import median
from typing import Any

import torch
from torch import Tensor

from stages.ablate_variant import PRESETS
from stages.conventions import step_generator
from stages.distilling.distillation import Distillation
from stages.distilling.score import Score
from stages.fit_lora import STATIC_PROMPT
from stages.priors.load import load_prior
from stages.settings import with_settings
from stages.zoo.clips import rigged_file
from stages.zoo.rigs import Rig
from tests.bench.bench_ablation import TASKS, world_of
from tests.bench.exact import STATIC, WALK, exact_config
from tests.bench.held_out import HELD_OUT, NUM_GAUSSIANS
from tests.bench.record import finish
from tests.bench.steps import distillation_of

DRAWS = 48
OBJECTIVES: dict[str, dict[str, Any]] = {
    "sds": {"score.objective": "sds"},
    "msd": {},
    "sds with one noise a camera": {
        "score.inversion_steps": 0,
        "score.start_noise": "fixed",
        "score.own_noise": True,
    },
}
RANGES = {"all timesteps": 0.02, "from 0.6": 0.6}
PLACES = {"at rest": 0.0, "a quarter of the way": 0.25}
LATENT_PX = (1, 8)
NUM_PHASES = 16


def main() -> None:
    """Measure every condition on every body."""
    found: dict[str, list[float]] = {}
    for task, latent_px in product(TASKS, LATENT_PX):
        for name, share in agreements(task, latent_px).items():
            found.setdefault(f"{latent_px} px, {name}", []).append(round(share, 4))
        print(task, latent_px, flush=True)
    for rig in HELD_OUT:
        for name, share in embedded_agreements(rig).items():
            found.setdefault(f"embedded prior, {name}", []).append(round(share, 4))
        print(rig.file, flush=True)
    finish("undecided", {"medians": {name: median(shares) for name, shares in found.items()}, "bodies": found})


def agreements(task: str, latent_px: int) -> dict[str, float]:
    """The share that is left of the steps' pulls, by range, place and objective."""
    world = world_of(task, 0, latent_px)
    shares = {}
    for (within, lowest), (objective, settings) in product(RANGES.items(), OBJECTIVES.items()):
        within_range = {"score.guidance": 1.0, "score.timestep_min": lowest, "score.timestep_max_end": 0.98}
        config = with_settings(exact_config(), within_range | settings)
        distillation = distillation_of(world.asset, world.prior, config, STATIC)
        still = distillation.views[0].still
        phases = world.prior.clips_of(WALK)[:NUM_PHASES]  # from the first camera
        directions = torch.linalg.qr((phases - phases.mean(dim=0)).flatten(1)[1:].T).Q  # [D, P - 1]
        for place, way in PLACES.items():
            latents = still + way * (phases[:1] - still)
            wishes = torch.stack([wish(distillation, latents, draw) @ directions for draw in range(DRAWS)])
            shares[f"{within}, {place}, {objective}"] = survives(wishes)
    return shares


def embedded_agreements(rig: Rig) -> dict[str, float]:
    """The share that is left of the steps' pulls, by objective. The static branch is the plain model: no LoRA."""
    assert rig.rest is not None
    file = rigged_file(rig.file, rig.folder)
    body = file.body(file.pose(rig.rest, torch.zeros(1)), NUM_GAUSSIANS, torch.Generator().manual_seed(0))
    shares = {}
    prompt = next(iter(rig.verbs.values())).prompt
    plain = {"prompt": prompt, "score.static_branch": "prompt", "score.guidance": 1.0, "views.num_cameras": 1}
    base = with_settings(PRESETS["score"].distill, plain)
    for objective in ("sds", "msd"):
        config = with_settings(base, OBJECTIVES[objective])
        static = STATIC_PROMPT.format(object=rig.nouns[0])
        distillation = distillation_of(body.gaussians, load_prior("embedded-video"), config, static)
        still = distillation.views[0].still
        shares[objective] = survives(torch.stack([wish(distillation, still, draw) for draw in range(DRAWS)]))
    return shares


def wish(distillation: Distillation, latents: Tensor, draw: int) -> Tensor:
    """The gradient of one step from the first camera, flat."""
    generator = step_generator(0, draw)
    score = distillation.terms[0]
    assert isinstance(score, Score)
    timestep = score.draw_timestep(0, generator)
    return score.gradient(latents, distillation.views[0], timestep, generator).flatten()


def survives(wishes: Tensor) -> float:
    """|mean|^2 / mean |.|^2 of [K, D]."""
    return float(wishes.mean(dim=0).square().sum() / wishes.square().sum(dim=1).mean())


if __name__ == "__main__":
    main()
