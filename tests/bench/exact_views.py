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


def distil_joint(world: World, config: DistillConfig, num_views: int = 4) -> float:
    """Run ``config`` with one set of V joint views: the final ratio."""
    prior = joint_prior(world, num_views)
    azimuth = 360.0 * float(torch.rand((), generator=torch.Generator().manual_seed(config.seed)))
    first, *others = prior.cameras_around(world.asset, azimuth)
    viewpoint = Viewpoint(first, torch.ones(3), choose("cpu"), beside=tuple(others))
    config = replace(config, prompt=WALK, negative_prompt="")
    distillation = Distillation(
        world.asset, prior, [viewpoint], (WALK, "", STATIC), config, steps=config.steps, seed=config.seed
    )
    field = new_motion(config.motion, world.asset, config.seed)
    regularizers = field.regularizers(world.asset, config.regularizers)
    optimiser = torch.optim.Adam(field.parameter_groups(config.learning_rate))
    for step in range(config.steps):
        loss = distillation.step(field, regularizers, step)["loss"]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return world.ratio(field.at(world.asset, frame_times(NUM_FRAMES)).means)
