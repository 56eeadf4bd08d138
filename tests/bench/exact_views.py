"""The exact-prior world (``tests.bench.exact``) seen by V cameras at once."""

from __future__ import annotations

from dataclasses import replace

import torch

from stages.conventions import frame_times
from stages.distill import DistillConfig
from stages.distilling.distillation import Distillation
from stages.motion.kinds import new_motion
from stages.priors.exact_views import STATIC, ExactViewsPrior
from stages.priors.prior import Viewpoint
from stages.raster import choose
from tests.bench.exact import NUM_FRAMES, NUM_PHASES, SIZE_PX, World

WALK = "walk"
NUM_AZIMUTHS = 8
"""Base azimuths of which one is drawn in each step (Animate3D, Eq. 8), all cameras of them different."""
TRACED = 50


def joint_prior(world: World, num_views: int = 4) -> ExactViewsPrior:
    """The bank of ``world``, for V cameras."""
    stride = len(world.truth) // NUM_PHASES
    return ExactViewsPrior(
        world.asset,
        {WALK: world.truth[::stride]},
        world.prior.parameterization,
        size_px=SIZE_PX,
        num_views=num_views,
    )


def viewpoints_around(world: World, prior: ExactViewsPrior, seed: int, num_azimuths: int) -> list[Viewpoint]:
    """Sets of V joint views from a random azimuth on, spread over the angle between two neighbours of one set."""
    begin = 360.0 * float(torch.rand((), generator=torch.Generator().manual_seed(seed)))
    found = []
    for number in range(num_azimuths):
        azimuth = begin + 360.0 / prior.num_views * number / num_azimuths
        first, *others = prior.cameras_around(world.asset, azimuth)
        found.append(Viewpoint(first, torch.ones(3), choose("cpu"), beside=tuple(others)))
    return found


def distil_joint(
    world: World, config: DistillConfig, num_views: int = 4, *, num_azimuths: int = NUM_AZIMUTHS
) -> tuple[float, list[tuple[int, float]]]:
    """Run ``config`` with V joint views: the final ratio, and the ratio every 50 steps."""
    prior = joint_prior(world, num_views)
    viewpoints = viewpoints_around(world, prior, config.seed, num_azimuths)
    config = replace(config, prompt=WALK, negative_prompt="")
    distillation = Distillation(
        world.asset, prior, viewpoints, (WALK, "", STATIC), config, steps=config.steps, seed=config.seed
    )
    field = new_motion(config.motion, world.asset, config.seed)
    regularizers = field.regularizers(world.asset, config.regularizers)
    optimiser = torch.optim.Adam(field.parameter_groups(config.learning_rate))
    trace = []
    for step in range(config.steps):
        loss = distillation.step(field, regularizers, step)["loss"]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if (step + 1) % TRACED == 0 or step + 1 == config.steps:
            with torch.no_grad():
                means = field.at(world.asset, frame_times(NUM_FRAMES)).means
            trace.append((step + 1, round(world.ratio(means), 4)))
    return trace[-1][1], trace
