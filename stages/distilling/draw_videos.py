"""Samples of a prior that makes videos: one through one camera, or V that agree."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stages.cameras import Camera, fitting_radius, orbit_camera
from stages.gaussians import Gaussians
from stages.objectives.sample_views import FREEINIT, has_ladder, sample_views
from stages.objectives.sampling import sample_video
from stages.priors.prior import MultiViewPrior, VideoPrior, Viewpoint, makes_videos, sees_views
from stages.priors.sampling import SamplingDefaults
from stages.raster import Rasterizer

GREY = 0.5
"""Behind the asset, as priors of several views know it (Animate3D)."""

AZIMUTH_DEG, ELEVATION_DEG, FOV_DEG, FILL = 35.0, 15.0, 35.0, 0.8


def cameras_for(
    prior: VideoPrior | MultiViewPrior, asset: Gaussians, azimuth_deg: float = AZIMUTH_DEG
) -> tuple[Camera, ...]:
    """The cameras that ``prior`` makes videos through: its own V, or one from the front and the side."""
    if sees_views(prior):
        return prior.cameras_around(asset, azimuth_deg)
    low, high = (corner.cpu() for corner in asset.bounds())
    camera = orbit_camera(
        azimuth_deg=azimuth_deg,
        elevation_deg=ELEVATION_DEG,
        radius=fitting_radius(low, high, FOV_DEG, FILL),
        fov_deg=FOV_DEG,
        width=prior.clip.width,
        height=prior.clip.height,
        target=0.5 * (low + high),
    )
    return (camera.to(asset.means.device),)


class Drawing:
    """What is needed to draw samples of one sentence.

    Args:
        prior: makes videos.
        asset: at rest.
        background: [3] behind it.
        prompt, negative: sentences; "" is none.
        how: steps and guidance.
        azimuth_deg: of the first camera.
    """

    def __init__(
        self,
        prior: VideoPrior | MultiViewPrior,
        asset: Gaussians,
        background: Tensor,
        rasterizer: Rasterizer,
        *,
        prompt: str,
        negative: str,
        how: SamplingDefaults,
        azimuth_deg: float = AZIMUTH_DEG,
    ) -> None:
        self.prior, self.how, self.background = prior, how, background
        self.cameras = cameras_for(prior, asset, azimuth_deg)
        texts = prior.encode_text([prompt, negative]).split()
        viewpoint = Viewpoint(self.cameras[0], background, rasterizer, beside=self.cameras[1:])
        self.condition, self.negative = (prior.condition(text, asset, viewpoint) for text in texts)
        self.like = prior.still_latents(asset, viewpoint)
        self.freeinit = FREEINIT if sees_views(prior) and has_ladder(prior) else 1

    @property
    def steps(self) -> int:
        """Of one sample."""
        return self.how.steps * self.freeinit

    @torch.no_grad()
    def draw(self, generator: torch.Generator, report: Callable[[int, int], None]) -> Tensor:
        """Videos [V, T, H, W, 3] in [0, 1]."""
        if sees_views(self.prior):
            latents = sample_views(
                self.prior,
                self.condition,
                self.negative,
                generator,
                steps=self.how.steps,
                guidance=self.how.guidance,
                freeinit=self.freeinit,
                each=lambda done: report(done, self.steps),
            )
            return self.prior.decode_views(latents)
        negative = None if self.how.guidance == 1.0 else self.negative
        latents = sample_video(
            self.prior, self.condition, negative, generator, like=self.like, how=self.how, report=report
        )
        assert makes_videos(self.prior)
        return self.prior.decode(latents)[None]
