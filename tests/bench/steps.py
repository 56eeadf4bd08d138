"""The steps of ``distill`` without a run directory."""

from __future__ import annotations

from stages.distill import DistillConfig
from stages.distilling.distillation import Distillation
from stages.distilling.viewpoints import sample_viewpoints
from stages.gaussians import Gaussians
from stages.priors.prior import VideoPrior
from stages.raster import choose


def distillation_of(asset: Gaussians, prior: VideoPrior, config: DistillConfig, static_prompt: str) -> Distillation:
    """The steps of ``config`` for ``asset``, on its device."""
    rasterizer = choose(config.device, config.raster)
    viewpoints = sample_viewpoints(asset, prior.clip, config.views, rasterizer, seed=config.seed)
    prompts = (config.prompt, config.negative_prompt, static_prompt)
    return Distillation(asset, prior, viewpoints, prompts, config, steps=config.steps, seed=config.seed)
