"""LTX-Video: a transformer over latents of eight frames and 32 pixels, flow; the picture is the first of them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from stages.priors.parameterization import Parameterization
from stages.priors.prior import ClipShape, Text
from stages.priors.published import PublishedPrior, given_first
from stages.priors.sampling import SamplingDefaults

FRAMES_PER_SECOND = 24.0
"""What the clip is said to be played at."""


class LTXPrior(PublishedPrior):
    """``LTXVideoTransformer3DModel`` with ``AutoencoderKLLTXVideo`` and T5's encoder."""

    clip_default = ClipShape(17, 256, 256)
    max_tokens = 128
    sees_picture = True

    @property
    def _shrink(self) -> int:
        halvings = sum(self.vae_config["spatio_temporal_scaling"])
        return int(self.vae_config.get("spatial_compression_ratio") or self.vae_config["patch_size"] * 2**halvings)

    @property
    def frames_rule(self) -> int:  # type: ignore[override]
        """Frames to a latent one."""
        halvings = sum(self.vae_config["spatio_temporal_scaling"])
        return int(self.vae_config.get("temporal_compression_ratio") or self.vae_config["patch_size_t"] * 2**halvings)

    @property
    def size_multiple(self) -> int:
        """The autoencoder's shrinking."""
        return self._shrink

    def usual_sampling(self) -> SamplingDefaults:
        """As diffusers' pipeline; the more latent pixels there are, the more noise the steps are spent on."""
        says, clip = self.scheduler_config, self.clip
        shift = None
        if says.get("use_dynamic_shifting"):
            frames = (clip.num_frames - 1) // self.frames_rule + 1
            pixels = frames * (clip.height // self._shrink) * (clip.width // self._shrink)
            low, high = says["base_image_seq_len"], says["max_image_seq_len"]
            slope = (says["max_shift"] - says["base_shift"]) / (high - low)
            shift = math.exp(says["base_shift"] + slope * (pixels - low))
        return SamplingDefaults(steps=50, guidance=3.0, shift=shift)

    def schedule(self) -> Parameterization:
        """Straight paths, not shifted: the pipeline's shift only says where a sampler's few steps lie."""
        return Parameterization.rectified_flow(shift=float(self.scheduler_config.get("shift") or 1.0))

    def encode_images(self, images: Tensor) -> Tensor:
        """The mean of the latents' distribution, each channel to zero mean and unit deviation."""
        vae: Any = self.vae
        mean, std = self._statistics(images)
        latents = vae.encode(images.transpose(0, 1)[None]).latent_dist.mode()
        return (latents - mean) * vae.config.scaling_factor / std

    def decode_images(self, latents: Tensor) -> Tensor:
        """All frames at once, told that no noise is left."""
        vae: Any = self.vae
        mean, std = self._statistics(latents)
        clean = latents * std / vae.config.scaling_factor + mean
        temb = latents.new_zeros(1) if vae.config.timestep_conditioning else None
        return vae.decode(clean, temb).sample[0].transpose(0, 1)

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        vae: Any = self.vae
        return vae.latents_mean.to(like).view(1, -1, 1, 1, 1), vae.latents_std.to(like).view(1, -1, 1, 1, 1)

    def run(self, latents: Tensor, timestep: int, text: Text, image_latents: Tensor | None) -> Tensor:
        """Latents go in as tokens [B, t h w, C]; time is the noise level times 1000, zero for the given frame."""
        assert text.states is not None and text.mask is not None
        batch, channels, frames, rows, columns = latents.shape
        given = latents
        noisy = torch.ones(frames, rows * columns, device=latents.device)
        if image_latents is not None:
            given = torch.cat([image_latents[:, :, None], latents[:, :, 1:]], dim=2)
            noisy[0] = 0.0
        time = self.noise_levels[timestep] * noisy.flatten()
        out = self.denoiser(
            hidden_states=given.flatten(2).transpose(1, 2),
            encoder_hidden_states=text.states,
            timestep=time.expand(batch, -1),
            encoder_attention_mask=text.mask,
            num_frames=frames,
            height=rows,
            width=columns,
            rope_interpolation_scale=(self.frames_rule / FRAMES_PER_SECOND, self._shrink, self._shrink),
            return_dict=False,
        )[0]
        out = out.transpose(1, 2).reshape(batch, channels, frames, rows, columns)
        return given_first(self.parameterization, out, latents, timestep, image_latents)
