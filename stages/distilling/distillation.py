"""What ``distill`` does in one step: render the moved asset, ask the prior, weigh the losses.

Apart from the stage so that benchmarks and searches take the same steps without a run directory.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stages.cameras import Camera, sample_orbit_cameras
from stages.conventions import frame_times, step_generator
from stages.gaussians import Frames, Gaussians
from stages.gaussians.neighbours import nearest_neighbours
from stages.media.preview import write_preview
from stages.motion.hexplane import HexPlane
from stages.motion.regularizers import arap, tv3d
from stages.objectives.flow import flow_loss, flow_pair, guided_flow
from stages.objectives.msd import distillation_loss, msd_gradient, static_score
from stages.objectives.sds import sds_gradient
from stages.objectives.smoothing import smooth_gradient
from stages.priors.prior import ClipShape, VideoPrior, says_flow
from stages.raster import Rasterizer, render, render_flow
from stages.run_dir import StageFolder

if TYPE_CHECKING:
    from stages.distill import DistillConfig


def new_field(asset: Gaussians, config: DistillConfig) -> HexPlane:
    """A motion field around the asset that does not move it yet."""
    low, high = asset.bounds()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return HexPlane(config.field, low.cpu(), high.cpu()).to(config.device)


class Distillation:
    """Everything a step needs that does not change between steps; ``step`` gives the losses of one."""

    def __init__(
        self, asset: Gaussians, prior: VideoPrior, rasterizer: Rasterizer, config: DistillConfig, static_prompt: str
    ) -> None:
        self.asset, self.prior, self.rasterizer, self.config = asset, prior, rasterizer, config
        self.cameras = [c.to(config.device) for c in self.sample_cameras(asset, prior.clip, config)]
        rungs = torch.linspace(config.timestep_min, config.timestep_max, config.num_timesteps).tolist()
        self.timesteps = [prior.parameterization.timestep_at(rung) for rung in rungs]
        self.times = frame_times(prior.clip.num_frames, config.device)
        self.neighbours, self.distances = nearest_neighbours(asset.means, config.neighbours)
        self.background = torch.full((3,), config.background, device=config.device)
        with torch.no_grad():
            prompts = [config.prompt, config.negative_prompt, static_prompt]
            self.text, self.negative, self.static_text = prior.encode_text(prompts).split()
            frames = [render(asset, [camera], rasterizer, background=self.background).rgb for camera in self.cameras]
            self.pictures = [prior.encode_picture(frame) for frame in frames]  # [1, ...] each
            self.stills = [prior.encode_still(frame) for frame in frames]  # [1, C, t, h, w] each
        self._static_eps: dict[tuple[int, int], Tensor] = {}

    @staticmethod
    def sample_cameras(asset: Gaussians, clip: ClipShape, config: DistillConfig) -> list[Camera]:
        """The fixed set of cameras that the seed draws, for pictures of the size of ``clip``."""
        low, high = asset.bounds()
        generator = step_generator(config.seed, 0, stream=1)
        return sample_orbit_cameras(
            config.num_cameras, low=low, high=high, width=clip.width, height=clip.height, generator=generator
        )

    def step(self, field_: HexPlane, step: int) -> dict[str, Tensor]:
        """Losses of optimiser step ``step``: "loss" is their weighted sum."""
        config = self.config
        generator = step_generator(config.seed, step)
        view = int(torch.randint(0, len(self.cameras), (), generator=generator))
        timestep = self.draw_timestep(step, generator)
        moved = field_.at(self.asset, self.times)
        means = moved.means
        losses = {}
        if config.score_weight and step % config.score_every == 0:
            frames = self.render(moved, self.cameras[view])
            latents = self.prior.encode(smooth_gradient(frames, config.blur_at(step) * frames.shape[1]))
            gradient = self.gradient(latents, view, timestep, generator)
            losses["score"] = distillation_loss(latents, gradient) / latents[0].numel()
        if config.flow_weight and says_flow(self.prior):
            moves = render_flow(self.asset, self.cameras[view], self.rasterizer, means)
            losses["flow"] = flow_loss(*moves, self.flows[view])
        losses["tv"] = tv3d(means)
        anchors = self.draw_anchors(generator)
        losses["arap"] = arap(means, self.asset.means, self.neighbours, self.distances, anchors)
        total = torch.zeros((), device=means.device)
        for name, value in losses.items():
            total = total + getattr(config, f"{name}_weight") * value
        return {"loss": total, **losses}

    def draw_timestep(self, step: int, generator: torch.Generator) -> int:
        """A rung of the ladder below the annealed upper end."""
        config = self.config
        done = step / max(1, config.steps)
        upper = config.timestep_max + done * (config.timestep_max_end - config.timestep_max)
        allowed = max(1, sum(t <= self.prior.parameterization.timestep_at(upper) for t in self.timesteps))
        return self.timesteps[int(torch.randint(0, allowed, (), generator=generator))]

    def draw_anchors(self, generator: torch.Generator) -> Tensor | None:
        """The Gaussians at which ARAP is measured in one step; None for all."""
        count = self.asset.num_gaussians
        if count <= self.config.arap_anchors:
            return None
        return torch.randperm(count, generator=generator)[: self.config.arap_anchors].to(self.asset.means.device)

    def render(self, moved: Frames, camera: Camera) -> Tensor:
        """Images [T, H, W, 3] of the moved asset from one camera."""
        return render(moved, [camera] * moved.num_frames, self.rasterizer, background=self.background).rgb

    def gradient(self, latents: Tensor, view: int, timestep: int, generator: torch.Generator) -> Tensor:
        """The objective's direction in latent space, detached."""
        config, picture = self.config, self.pictures[view]
        eps = torch.randn(latents.shape, generator=generator).to(latents)
        if config.objective == "sds":
            return sds_gradient(self.prior, latents, eps, timestep, self.text, self.negative, config.guidance, picture)
        return msd_gradient(
            self.prior,
            latents.detach(),
            self.static_eps(view, timestep),
            timestep,
            self.text,
            self.negative,
            config.guidance,
            config.inversion_steps,
            picture,
            eps if config.start_noise == "fresh" else self.start_noise(view),
            config.own_noise,
        )

    @cached_property
    def flows(self) -> Tensor:
        """Where the prior says that the pixels of each camera's picture go, [V, T, H, W, 2]: asked before the first
        step, of pictures of the asset at rest in so much noise that whether it moves cannot be seen."""
        pairs = torch.stack([self.flow_pair_of(view) for view in range(len(self.cameras))])
        return guided_flow(pairs, self.config.flow_guidance)

    def flow_pair_of(self, view: int) -> Tensor:
        """The flow of one camera for the negative prompt and for the prompt, [2, T, H, W, 2], over several noises."""
        assert says_flow(self.prior)
        config, still, picture, pairs = self.config, self.stills[view], self.pictures[view], []
        for sample in range(config.flow_samples):
            share = (sample + 0.5) / config.flow_samples
            fraction = config.timestep_min + share * (config.timestep_max - config.timestep_min)
            timestep = self.prior.parameterization.timestep_at(fraction)
            generator = step_generator(config.seed, view * config.flow_samples + sample, stream=4)
            eps = torch.randn(still.shape, generator=generator).to(still)
            pairs.append(flow_pair(self.prior, still, eps, timestep, self.text, self.negative, picture))
        return torch.stack(pairs).mean(dim=0)

    def static_eps(self, view: int, timestep: int) -> Tensor:
        """The static branch of one camera and timestep, computed once; zero where there is none."""
        if self.config.static_branch == "none":
            return torch.zeros_like(self.stills[view])
        key = (view, timestep)
        if key not in self._static_eps:
            self._static_eps[key] = static_score(
                self.prior,
                self.stills[view],
                timestep,
                self.static_text,
                self.config.inversion_steps,
                self.pictures[view],
                self.start_noise(view),
                self.config.own_noise,
                self.config.static_branch == "lora",
            )
        return self._static_eps[key]

    def start_noise(self, view: int) -> Tensor | None:
        """The noise in which the inversion of the static branch begins, and unless it is to be fresh in every step that
        of the moving one too: the same whenever a camera is used. None where it is switched off."""
        if self.config.start_noise == "none":
            return None
        still = self.stills[view]
        return torch.randn(still.shape, generator=step_generator(self.config.seed, view, stream=2)).to(still)

    @torch.no_grad()
    def preview(self, folder: StageFolder, field_: HexPlane) -> Path:
        """Write the present motion from the first camera into the stage's folder."""
        moved = field_.at(self.asset, self.times)
        return write_preview(folder.path / "preview", self.render(moved, self.cameras[0]), fps=8)
