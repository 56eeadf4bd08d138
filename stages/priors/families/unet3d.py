"""ModelScopeT2V: a UNet over frames, latents of each frame alone, eps-prediction. The paper's model.

ZeroScope is of the same classes, and loads once it is saved as safetensors: its weights are offered as ``.bin``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from stages.priors.parameterization import Parameterization
from stages.priors.prior import ClipShape, Text
from stages.priors.published import PublishedPrior
from stages.priors.sampling import SamplingDefaults


class UNet3DPrior(PublishedPrior):
    """``UNet3DConditionModel`` with Stable Diffusion's ``AutoencoderKL`` and CLIP's text encoder."""

    denoiser_part = "unet"
    clip_default = ClipShape(16, 256, 256)
    max_tokens = 77

    @property
    def size_multiple(self) -> int:
        """Every level but the last halves the latent, whose pixels the autoencoder halves as often."""
        shrinks = len(self.denoiser_config["block_out_channels"]) + len(self.vae_config["block_out_channels"]) - 2
        return 2**shrinks

    def usual_sampling(self) -> SamplingDefaults:
        """As diffusers' pipeline."""
        return SamplingDefaults(steps=50, guidance=9.0)

    def schedule(self) -> Parameterization:
        """Variance preserving, from the config's betas."""
        scheduler = DDIMScheduler.from_config(self.scheduler_config)
        return Parameterization.from_betas(scheduler.betas, scheduler.config.prediction_type)

    def checkpoint_denoiser(self, module: Any) -> None:
        """This class cannot do it by itself: every block is worked out again when a gradient comes back."""
        for block in (*module.down_blocks, module.mid_block, *module.up_blocks):
            block.forward = _worked_out_again(block.forward)

    def prepared_vae(self, module: Any) -> Any:
        """As it is: ``_in_parts`` works frames out again, and once is enough."""
        return module

    def encode_images(self, images: Tensor) -> Tensor:
        """Frame by frame: the mean of the latent's distribution, scaled."""
        vae: Any = self.vae
        latents = self._in_parts(lambda part: vae.encode(part).latent_dist.mode(), images)
        return latents.permute(1, 0, 2, 3)[None] * vae.config.scaling_factor

    def encode_still(self, frame: Tensor) -> Tensor:
        """One picture, encoded once."""
        return self.encode(frame).expand(-1, -1, self.clip.num_frames, -1, -1)

    def decode_images(self, latents: Tensor) -> Tensor:
        """Frame by frame."""
        vae: Any = self.vae
        frames = latents[0].permute(1, 0, 2, 3) / vae.config.scaling_factor
        return self._in_parts(lambda part: vae.decode(part).sample, frames)

    def _in_parts(self, work: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
        """``work`` on a few frames at a time; a gradient may work each part out again."""
        parts = frames.split(self.profile.frames_at_once)
        if self.profile.checkpointing and torch.is_grad_enabled():
            return torch.cat([checkpoint(work, part, use_reentrant=False) for part in parts])
        return torch.cat([work(part) for part in parts])

    def run(self, latents: Tensor, timestep: int, text: Text, image_latents: Tensor | None) -> Tensor:
        """The picture is not looked at."""
        assert text.states is not None
        time = torch.full((len(latents),), timestep, device=latents.device)
        return self.denoiser(latents, time, encoder_hidden_states=text.states).sample


def _worked_out_again(forward: Any) -> Any:
    def recomputing(*args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled():
            return checkpoint(forward, *args, use_reentrant=False, **kwargs)
        return forward(*args, **kwargs)

    return recomputing
