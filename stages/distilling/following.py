"""Matching videos (Animate3D, section 3.3): the motion is fitted to what one or several cameras saw.

Two things are compared in every step:

* *pixel flow*, of all cameras: where the surface that a camera sees at rest has gone, as far as that can be told
  (``Tracks``);
* colours and silhouettes, of one camera drawn at random: renders of the motion against the frames, which come in one
  after the other.

Colours alone copy grain, and fail where views disagree (a ratio of 1.14 on a sampled wave). So tracks are followed too,
each as far as it can be trusted: how sure the estimate is, how much of the surface the camera sees, and how far other
cameras agree. [ours; Animate3D compares colours and silhouettes]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.conventions import step_generator
from stages.distilling.tracks import Tracks, agreed, agreement
from stages.gaussians import Frames, Gaussians
from stages.guides import Guide
from stages.motion.interface import Motion, Regularizer
from stages.objectives.follow import photometric_loss, track_loss
from stages.raster import Rasterizer, render
from stages.settings import check


@dataclass(frozen=True, kw_only=True)
class FollowConfig:
    """Settings of matching videos. Weights of colours and silhouettes are equal in Animate3D; the rest is [ours]."""

    rgb_weight: float = 1.0
    mask_weight: float = 1.0
    flow_weight: float = 30.0
    frames_per_step: int = 8  # whose renders are compared
    opening: float = 0.5  # the share of the steps in which frames come in, one after the other

    def __post_init__(self) -> None:
        check(self, rgb_weight=0, mask_weight=0, flow_weight=0, frames_per_step=1, opening=0)


class Following:
    """What a step of fitting to videos needs that does not change between steps.

    Args:
        asset: at rest, on the device of the guides.
        guides: the videos.
        tracks: one a guide.
        config: weights.
        rasterizer: renders the motion.
        steps, seed: of the whole optimisation.
    """

    def __init__(
        self,
        asset: Gaussians,
        guides: Sequence[Guide],
        tracks: Sequence[Tracks],
        config: FollowConfig,
        rasterizer: Rasterizer,
        *,
        steps: int,
        seed: int,
    ) -> None:
        self.asset, self.guides, self.config, self.rasterizer = asset, guides, config, rasterizer
        self.steps, self.seed = steps, seed
        self.times = guides[0].times
        low, high = asset.bounds()
        self.size = float((high - low).norm())
        self.agreement = agreement(asset.means, tracks)
        self.tracks = agreed(asset.means, tracks, self.size) if len(tracks) > 1 else list(tracks)

    def step(self, motion: Motion, regularizers: Sequence[Regularizer], step: int) -> dict[str, Tensor]:
        """Values of all terms in optimiser step ``step``, by name; "loss" is their weighted sum."""
        config, generator = self.config, step_generator(self.seed, step)
        frames = motion.at(self.asset, self.times)
        terms = [("flow", config.flow_weight, self.flow_loss(frames))] if config.flow_weight else []
        if config.rgb_weight or config.mask_weight:
            guide = self.guides[int(torch.randint(0, len(self.guides), (), generator=generator))]
            chosen = self.chosen_frames(step, generator)
            rgb, mask = self.seen_loss(frames.select(chosen), guide, chosen)
            terms += [("rgb", config.rgb_weight, rgb), ("mask", config.mask_weight, mask)]
        terms += [(term.name, term.weight, term(frames, generator)) for term in regularizers]
        total = torch.stack([weight * value for _, weight, value in terms]).sum()
        return {"loss": total, **{name: value for name, _, value in terms}}

    def chosen_frames(self, step: int, generator: torch.Generator) -> Tensor:
        """Numbers of the frames whose renders are compared: some of those that have come in."""
        count = len(self.times)
        done = step / max(1.0, self.config.opening * self.steps)
        come = max(min(2, count), min(count, 1 + int(done * count)))
        return torch.randperm(come, generator=generator)[: self.config.frames_per_step].sort().values

    def flow_loss(self, frames: Frames) -> Tensor:
        """How far the surface is from where the tracks take it, over the asset's size, mean over all tracks."""
        losses = [
            track_loss(one.pixels(frames.means), one.targets, one.weights, one.pixel_size / self.size)
            for one in self.tracks
        ]
        return torch.stack(losses).mean()

    def seen_loss(self, frames: Frames, guide: Guide, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Errors of the colours and of the silhouettes of ``frames``, which are those ``chosen`` of the guide."""
        seen = render(
            frames,
            [guide.camera] * frames.num_frames,
            self.rasterizer,
            background=background_of(guide, frames.num_frames),
        )
        return photometric_loss(seen.rgb, seen.alpha[..., 0], guide.rgb[chosen], guide.mask[chosen])

    @torch.no_grad()
    def film(self, motion: Motion) -> Tensor:
        """The present motion beside the first guide, [T, H, 2 W, 3]."""
        guide, frames = self.guides[0], motion.at(self.asset, self.times)
        cameras = [guide.camera] * frames.num_frames
        made = render(frames, cameras, self.rasterizer, background=background_of(guide, frames.num_frames)).rgb
        return torch.cat([guide.rgb, made], dim=2)


def background_of(guide: Guide, num_frames: int) -> Tensor:
    """What is behind the asset in ``num_frames`` frames of a guide, as ``render`` takes it."""
    return guide.background if guide.background.dim() == 1 else guide.background.expand(num_frames, -1, -1, -1)
