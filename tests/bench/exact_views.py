"""The exact-prior world (``tests.bench.exact``) seen by V cameras at once."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from stages.conventions import frame_times
from stages.distill import DistillConfig
from stages.distilling.distillation import Distillation
from stages.gaussians import Gaussians
from stages.motion.kinds import new_motion
from stages.priors.exact_views import STATIC, ExactViewsPrior
from stages.priors.parameterization import Parameterization
from stages.priors.prior import Viewpoint
from stages.raster import choose
from tests.bench.exact import NUM_FRAMES, NUM_PHASES, SIZE_PX, ddpm_betas, distance_ratio

WALK = "walk"
NUM_AZIMUTHS = 8
"""Base azimuths of which one is drawn in each step (Animate3D, Eq. 8), all cameras of them different."""
TRACED = 50


def joint_prior(asset: Gaussians, truth: Tensor, num_views: int = 4) -> ExactViewsPrior:
    """A bank of ``NUM_PHASES`` of the clips ``truth`` [P, T, N, 3] of an asset, for V cameras."""
    return ExactViewsPrior(
        asset,
        {WALK: truth[:: len(truth) // NUM_PHASES]},
        Parameterization.from_betas(ddpm_betas(), "epsilon"),
        size_px=SIZE_PX,
        num_views=num_views,
    )


def viewpoints_around(prior: ExactViewsPrior, seed: int, num_azimuths: int) -> list[Viewpoint]:
    """Sets of V joint views from a random azimuth on, spread over the angle between two neighbours of one set."""
    begin = 360.0 * float(torch.rand((), generator=torch.Generator().manual_seed(seed)))
    found = []
    for number in range(num_azimuths):
        azimuth = begin + 360.0 / prior.num_views * number / num_azimuths
        first, *others = prior.cameras_around(prior.asset, azimuth)
        found.append(Viewpoint(first, torch.ones(3), choose("cpu"), beside=tuple(others)))
    return found


def distil_joint(
    asset: Gaussians, truth: Tensor, config: DistillConfig, *, num_views: int = 4, num_azimuths: int = NUM_AZIMUTHS
) -> list[tuple[int, float]]:
    """Run ``config`` with V joint views of an asset whose true clips are ``truth`` [P, T, N, 3]: the distance ratio
    every ``TRACED`` steps and at the end."""
    prior = joint_prior(asset, truth, num_views)
    viewpoints = viewpoints_around(prior, config.seed, num_azimuths)
    config = replace(config, prompt=WALK, negative_prompt="")
    distillation = Distillation(
        asset, prior, viewpoints, (WALK, "", STATIC), config, steps=config.steps, seed=config.seed
    )
    field = new_motion(config.motion, asset, config.seed)
    regularizers = field.regularizers(asset, config.regularizers)
    optimiser = torch.optim.Adam(field.parameter_groups(config.learning_rate))
    trace = []
    for step in range(config.steps):
        loss = distillation.step(field, regularizers, step)["loss"]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if (step + 1) % TRACED == 0 or step + 1 == config.steps:
            with torch.no_grad():
                means = field.at(asset, frame_times(NUM_FRAMES)).means
            trace.append((step + 1, round(distance_ratio(truth, asset, means), 4)))
    return trace
