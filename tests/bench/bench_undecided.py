"""Whether the steps of one camera pull towards one phase of a motion or towards all in turn, on the exact prior:
``python -m tests.bench.bench_undecided``

A step's gradient, projected on the directions in which the phases of a clip differ, says which phase it wants. Of many
steps with the same rendering the share |mean|^2 / mean |.|^2 of these is 1 when all want the same and 0 when they
cancel out. It is given for plain SDS and for MSD, both without guidance, with timesteps from all of the schedule and
from 0.6 up; in pixels and in latents of 8 pixels; for the asset at rest, and a quarter of the way to one true clip.
Median of ten bodies. Results: ``results/undecided.json``.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from statistics import median

import torch
from torch import Tensor

from stages.conventions import step_generator
from stages.distillation import Distillation
from stages.raster import choose
from tests.bench.bench_ablation import TASKS, world_of
from tests.bench.exact import STATIC, WALK, exact_config
from tests.bench.record import finish

DRAWS = 48
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
    finish("undecided", {"medians": {name: median(shares) for name, shares in found.items()}, "bodies": found})


def agreements(task: str, latent_px: int) -> dict[str, float]:
    """The share that is left of the steps' pulls, by range, place and objective."""
    world = world_of(task, 0, latent_px)
    shares = {}
    for (within, lowest), objective in product(RANGES.items(), ("sds", "msd")):
        config = replace(exact_config(), objective=objective, guidance=1.0, timestep_min=lowest, timestep_max_end=0.98)
        distillation = Distillation(world.asset, world.prior, choose("cpu"), config, STATIC)
        still = distillation.stills[0]
        phases = world.prior.clips_of(WALK)[:NUM_PHASES]  # from the first camera
        directions = torch.linalg.qr((phases - phases.mean(dim=0)).flatten(1)[1:].T).Q  # [D, P - 1]
        for place, way in PLACES.items():
            latents = still + way * (phases[:1] - still)
            wishes = torch.stack([wish(distillation, latents, draw) @ directions for draw in range(DRAWS)])
            shares[f"{within}, {place}, {objective}"] = survives(wishes)
    return shares


def wish(distillation: Distillation, latents: Tensor, draw: int) -> Tensor:
    """The gradient of one step from the first camera, flat."""
    generator = step_generator(0, draw)
    timestep = distillation.draw_timestep(0, generator)
    return distillation.gradient(latents, 0, timestep, generator).flatten()


def survives(wishes: Tensor) -> float:
    """|mean|^2 / mean |.|^2 of [K, D]."""
    return float(wishes.mean(dim=0).square().sum() / wishes.square().sum(dim=1).mean())


if __name__ == "__main__":
    main()
