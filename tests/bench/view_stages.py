"""Motions of a body fitted in several ways, for ``bench_views``: each row of its table of Animate3D's stages.

The exact prior (``stages.priors.exact_views``) knows one clip of the body, at fifteen phases if it is a loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from stages.conventions import frame_times, step_generator
from stages.distill import PRESETS
from stages.distill_videos import VideosConfig, by_the_body, field_for
from stages.distilling.clean_score import CleanScore, CleanScoreConfig
from stages.distilling.distillation import Distillation
from stages.distilling.draw_videos import Drawing
from stages.distilling.following import Following
from stages.distilling.given import shrunk
from stages.distilling.tracks import Tracks, estimated_tracks
from stages.gaussians import Frames, Gaussians
from stages.guides import Guide
from stages.guides.cutout import cut_out
from stages.metrics.trajectory import compare
from stages.motion.interface import Motion
from stages.motion.kinds import new_motion
from stages.priors.exact_views import STATIC, ExactViewsPrior
from stages.priors.load import load_prior
from stages.priors.parameterization import Parameterization
from stages.priors.prior import Viewpoint, makes_videos
from stages.raster import choose
from stages.refine import RefineConfig
from stages.settings import with_settings
from tests.bench.exact import ddpm_betas, exact_config
from tests.bench.steps import distillation_of

Figures = dict[str, Any]
CLIP, FACING_DEG = "clip", 0.0
MSD_STEPS = 200


class Stages:
    """One clip and its rows.

    Args:
        truth: sixteen frames.
        prompt: of the embedded prior, which does not know the clip.
        loop: whether it may begin anywhere.
    """

    def __init__(self, truth: Frames, prompt: str, *, loop: bool) -> None:
        self.asset, self.prompt = truth.asset, prompt
        self.bank = torch.stack([shifted(truth.means, phase, loop) for phase in range(15 if loop else 1)])

    def all(self) -> Iterator[tuple[str, Callable[[], Figures]]]:
        """The last label of every row, and what makes its figures."""
        yield "flow", lambda: {"flow": self.flow()}
        for views in ("joint", "single"):
            yield f"match + 4D-SDS, {views}", lambda views=views: self.matched(views)  # type: ignore[misc]
            yield f"MSD, {views}", lambda views=views: {f"MSD, {views}": self.msd(views)}  # type: ignore[misc]

    def prior(self, views: str) -> ExactViewsPrior:
        """Of four views, or of one."""
        schedule = Parameterization.from_betas(ddpm_betas(), "epsilon")
        return ExactViewsPrior(self.asset, {CLIP: self.bank}, schedule, num_views=4 if views == "joint" else 1)

    def nearest(self, motion: Motion) -> Figures:
        """``figures`` against the phase of the clip that is nearest."""
        with torch.no_grad():
            means = motion.at(self.asset, frame_times(self.bank.shape[1])).means
        away = [float((clip - means).norm()) for clip in self.bank]
        return figures(Frames(self.asset, self.bank[away.index(min(away))]), means)

    def flow(self) -> Figures:
        """What ``distill --prior embedded-video --preset preview`` makes of the sentence."""
        config = replace(PRESETS["preview"], prompt=self.prompt)
        prior = load_prior(config.prior, "cpu")
        assert makes_videos(prior)
        distillation = distillation_of(self.asset, prior, config, "")
        motion = new_motion(config.motion, self.asset, config.seed)
        optimise(motion, self.asset, lambda step, terms: distillation.step(motion, terms, step)["loss"], config)
        return self.nearest(motion)

    def msd(self, views: str) -> Figures:
        """MSD without blur, from four cameras that are drawn once."""
        config = with_settings(
            exact_config(), {"score.blur": 0.0, "steps": MSD_STEPS, "prompt": CLIP, "negative_prompt": ""}
        )
        prior, viewpoints = self.prior(views), []
        for number in range(1 if views == "joint" else 4):
            first, *others = prior.cameras_around(self.asset, 35.0 + 90.0 * number)
            viewpoints.append(Viewpoint(first, torch.ones(3), choose("cpu"), beside=tuple(others)))
        prompts = (CLIP, "", STATIC)
        distillation = Distillation(
            self.asset, prior, viewpoints, prompts, config, steps=config.steps, seed=config.seed
        )  # fmt: skip
        motion = new_motion(config.motion, self.asset, config.seed)
        optimise(motion, self.asset, lambda step, terms: distillation.step(motion, terms, step)["loss"], config)
        return self.nearest(motion)

    def matched(self, views: str) -> Figures:
        """Match on four views, and 4D-SDS after it."""
        prior = self.prior(views)
        guides = sampled(prior, self.asset, views=4)
        tracks = [estimated_tracks(self.asset, guide, choose("cpu")) for guide in guides]
        motion, fit = fitted(self.asset, guides, tracks, VideosConfig())
        agree = None if fit.agreement is None else round(fit.agreement, 3)
        found = {f"match, {views}": {**self.nearest(motion), "agree": agree}}
        refined(motion, prior, self.asset)
        return {**found, f"match + 4D-SDS, {views}": self.nearest(motion)}


def optimise(motion: Motion, asset: Gaussians, loss_of: Callable[[int, Any], Tensor], config: Any) -> None:
    """Adam, as the stages do: ``loss_of`` a step, with the regularizers of ``config``."""
    terms = motion.regularizers(asset, config.regularizers)
    optimiser = torch.optim.Adam(motion.parameter_groups(config.learning_rate))
    for step in range(config.steps):
        loss = loss_of(step, terms)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()


def fitted(
    asset: Gaussians, guides: list[Guide], tracks: list[Tracks], config: VideosConfig
) -> tuple[Motion, Following]:
    """The motion that ``config`` finds, as ``distill --video`` does without a sentence."""
    fit = Following(
        asset, [shrunk(guide, config.render_px) for guide in guides], tracks, config.follow, choose("cpu"),
        steps=config.steps, seed=config.seed,
    )  # fmt: skip
    motion = new_motion(field_for(config, guides), asset, config.seed)
    regularizers = [*motion.regularizers(asset, config.regularizers)]
    regularizers += by_the_body(config, asset, tracks, FACING_DEG)
    optimiser = torch.optim.Adam(motion.parameter_groups(config.learning_rate))
    for step in range(config.steps):
        loss = fit.step(motion, regularizers, step)["loss"]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return motion, fit


def figures(truth: Frames, means: Tensor) -> Figures:
    """How near ``means`` [T, N, 3] are to the true ones."""
    found = compare(means, truth.means, truth.asset.means)
    names = ("ratio", "cosine", "amplitude")
    return {name: round(float(getattr(found, name)), 3) for name in names}


def shifted(means: Tensor, phase: int, loop: bool) -> Tensor:
    """A loop [T, N, 3], whose last frame is its first, begun ``phase`` frames later."""
    return means[(torch.arange(len(means)) + phase) % (len(means) - 1)] if loop else means


def sampled(prior: ExactViewsPrior, asset: Gaussians, views: int) -> list[Guide]:
    """``views`` videos as guides, drawn V at a time."""
    guides: list[Guide] = []
    grey = torch.full((3,), 0.5)
    for number in range(views // prior.num_views):
        drawing = Drawing(
            prior, asset, grey, choose("cpu"), prompt=CLIP, negative="", how=prior.sampling,
            azimuth_deg=35.0 + 360.0 * number / views,
        )  # fmt: skip
        videos = drawing.draw(step_generator(0, number, stream=8), lambda done, steps: None)
        for camera, rgb in zip(drawing.cameras, videos, strict=True):
            guides.append(
                Guide(
                    camera=camera,
                    rgb=rgb,
                    mask=cut_out(rgb).mask,
                    times=frame_times(len(rgb)),
                    background=grey,
                    starts_at_rest=False,
                )
            )
    return guides


def refined(motion: Motion, prior: ExactViewsPrior, asset: Gaussians, steps: int = 60) -> None:
    """4D-SDS as ``refine --objective 4d-sds`` does."""
    grey = torch.full((3,), 0.5)
    score = CleanScore(prior, asset, grey, choose("cpu"), CleanScoreConfig(num_azimuths=4), prompt=CLIP, seed=0)
    regularizers = motion.regularizers(asset, RefineConfig().regularizers)
    optimiser = torch.optim.Adam(motion.parameter_groups(RefineConfig().learning_rate))
    for step in range(steps):
        frames, generator = motion.at(asset, score.times), step_generator(0, step)
        loss = score.config.weight * score.loss(frames, step)
        loss = loss + sum((term.weight * term(frames, generator) for term in regularizers), torch.zeros(()))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
