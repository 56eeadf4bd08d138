"""The exact-prior world in the space of points: a walking body's own trajectories at many phases are all there is.

The right answer is known. The score of an objective is as in ``tests.bench.exact``: the distance of the distilled
motion to the nearest-phase true clip over that of the static asset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stages.adam import Adam
from stages.cameras import Camera
from stages.conventions import step_generator
from stages.distill import PRESETS, DistillConfig
from stages.distilling.distillation import Distillation
from stages.gaussians import Gaussians
from stages.geometry.trajectories import basis_of
from stages.motion.interface import Motion
from stages.motion.kinds import new_motion
from stages.priors.points import PointsPrior, PointView
from stages.priors.points.exact import ExactPointsModel
from stages.priors.points.model import CHANNELS, Verb
from stages.priors.prior import Viewpoint
from stages.raster import choose
from stages.settings import with_settings
from stages.training.point_bank import training_bodies
from stages.zoo.bodies import bodies
from stages.zoo.trajectories import clip_poses

BODY = "animal_Wolf.glb"
VERBS = ("walk", "run")
NUM_GAUSSIANS, NUM_PHASES, FINE_PHASES = 1000, 16, 64
"""Both verbs at ``NUM_PHASES`` each: a bank of 32."""


def exact_points_config(objective: str = "msd") -> DistillConfig:
    """The settings that ``--objective`` takes with the points prior, but for the guidance, rate and steps, of which an
    exact score bears more than a learnt one. What stands still is a verb of the bank, so that the static branch is
    exact without a LoRA."""
    changed: dict[str, Any] = {"prompt": "walk", "negative_prompt": "", "score.static_branch": "prompt"}
    if objective == "match":
        return with_settings(PRESETS["default"], changed)
    changed |= {"score.objective": objective, "score.guidance": 2.0, "learning_rate": 0.2, "steps": 300}
    return with_settings(PRESETS["points-msd"], changed)


@dataclass(frozen=True)
class PointsWorld:
    """The asset, the truth, and the prior that knows it."""

    asset: Gaussians
    truth: Tensor  # [P, T, N, 3] displacements of the walk at FINE_PHASES start phases
    prior: PointsPrior
    view: PointView

    def ratio(self, motion: Motion) -> float:
        """Distance of ``motion`` to the nearest true clip over that of the asset at rest."""
        away = motion.displacements(self.asset.means, basis_of(True).times())
        near, still = ((self.truth - moved).norm(dim=-1).mean(dim=(1, 2)).min() for moved in (away, 0.0 * away))
        return float(near / still)


def build_points_world(seed: int) -> PointsWorld:
    """The wolf, its walk and its run, and a prior that knows nothing else."""
    [entry] = [entry for entry in bodies() if entry.file == BODY]
    [source] = training_bodies([entry])
    body = source.file.body(source.rest(), NUM_GAUSSIANS, torch.Generator().manual_seed(0))
    asset, times = body.gaussians, basis_of(True).times()
    camera = Camera(viewmat=torch.eye(4), K=torch.eye(3), width=16, height=16)
    viewpoint = Viewpoint(camera, torch.ones(3), choose("cpu"))
    still = ExactPointsModel({Verb("static", True, 1.0): torch.zeros(1, CHANNELS, 1)}, torch.zeros(1, 3), _scales())
    view = PointsPrior("none", still).look_at(asset, viewpoint, cyclic=True, facing_deg=0.0, seed=seed)
    moves: dict[str, Tensor] = {}
    for verb in VERBS:
        [motion] = [motion for motion in source.motions if motion.verb == verb][:1]
        phases = [phase / FINE_PHASES for phase in range(FINE_PHASES)]
        poses = [clip_poses(source.file, motion.clip, times, True, phase) for phase in phases]
        moves[verb] = torch.stack([body.animate(pose).means - asset.means for pose in poses])
    bank = {Verb(verb, True, 1.0): _latents(moves[verb][:: FINE_PHASES // NUM_PHASES], view) for verb in VERBS}
    bank[Verb("static", True, 1.0)] = torch.zeros(1, CHANNELS, len(view.indices))
    prior = PointsPrior("exact", ExactPointsModel(bank, view.rest(asset), _scales()))
    return PointsWorld(asset, moves["walk"], prior, view)


def distil_points(world: PointsWorld, config: DistillConfig) -> float:
    """Run ``config`` and return the final ratio."""
    prompts = (config.prompt, config.negative_prompt, "static")
    distillation = Distillation(
        world.asset, world.prior, [world.view], prompts, config, steps=config.steps, seed=config.seed
    )
    motion = new_motion(config.motion, world.asset, config.seed, cyclic=True)
    with torch.no_grad():  # a motion of zero is a saddle between all phases
        for parameter in dict(motion.named_parameters()).values():
            parameter.add_(1e-3 * torch.randn(parameter.shape, generator=step_generator(config.seed, 0, stream=31)))
    distillation.begin(motion)
    regularizers = motion.regularizers(world.asset, config.regularizers)
    optimiser = Adam(motion.parameter_groups(config.learning_rate))
    for step in range(config.steps):
        loss = distillation.step(motion, regularizers, step)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return world.ratio(motion)


def _latents(moves: Tensor, view: PointView) -> Tensor:
    """Latents [M, 3 K, N] of displacements [M, T, G, 3]."""
    seen = moves[:, :, view.indices] @ view.R_body_asset.T / view.half_side
    coefficients = basis_of(True).coefficients(seen.transpose(1, 2))  # [M, N, K, 3]
    return (coefficients / _scales()[1][:, None]).flatten(-2).transpose(1, 2)


def _scales() -> Tensor:
    """The shipped prior's: the noise is to be as large against the motion as it is there."""
    from stages.priors.load import load_prior
    from stages.priors.points import sees_points

    prior = load_prior("points")
    assert sees_points(prior)
    return prior.model.scales
