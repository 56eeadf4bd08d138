"""Wan 2.1 (text) and Wan 2.2 TI2V (text, or text and picture): a transformer over latents of four frames, flow.

TI2V is given the picture's latents as its first latent frame, at noise zero, and a timestep for every patch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stages.errors import NotAvailable
from stages.priors.parameterization import Parameterization
from stages.priors.prior import ClipShape, Text
from stages.priors.published import PublishedPrior, given_first


class WanPrior(PublishedPrior):
    """``WanTransformer3DModel`` with ``AutoencoderKLWan`` and UMT5's encoder."""

    clip_default = ClipShape(17, 256, 256)
    max_tokens = 512

    def __init__(self, name: str, folder: Path, *args: Any, **options: Any) -> None:
        super().__init__(name, folder, *args, **options)
        in_channels, own = self.denoiser_config["in_channels"], self.denoiser_config["out_channels"]
        if self.index.get("transformer_2", [None, None])[1] is not None or in_channels != own:
            raise NotAvailable(
                f"{name} is a Wan model of two experts, or one that needs a CLIP picture; these are too large for "
                "distillation.",
                "Use Wan-AI/Wan2.1-T2V-1.3B-Diffusers or Wan-AI/Wan2.2-TI2V-5B-Diffusers.",
            )

    @property
    def sees_picture(self) -> bool:  # type: ignore[override]
        """Whether every patch has its own timestep."""
        return bool(self.index.get("expand_timesteps", False))

    @property
    def frames_rule(self) -> int:  # type: ignore[override]
        """Frames to a latent one."""
        return int(2 ** sum(self.vae_config.get("temperal_downsample", (False, True, True))))

    @property
    def size_multiple(self) -> int:
        """The autoencoder's shrinking times the transformer's patches."""
        shrink = self.vae_config.get("scale_factor_spatial") or 2 ** (len(self.vae_config["dim_mult"]) - 1)
        return int(shrink) * int(self.denoiser_config["patch_size"][1])

    def schedule(self) -> Parameterization:
        """Straight paths with the scheduler's shift."""
        shift = self.scheduler_config.get("flow_shift") or self.scheduler_config.get("shift") or 1.0
        return Parameterization.rectified_flow(shift=float(shift))

    def read_prompts(self, encoder: Any, ids: Tensor, mask: Tensor) -> Tensor:
        """Zeros beyond the prompt's end."""
        states = encoder(ids, mask).last_hidden_state
        return states * mask[:, :, None].to(states)  # type: ignore[no-any-return]

    def encode_images(self, images: Tensor) -> Tensor:
        """The mean of the latents' distribution, each channel to zero mean and unit deviation."""
        vae: Any = self.vae
        mean, std = self._statistics(images)
        return (vae.encode(images.transpose(0, 1)[None]).latent_dist.mode() - mean) / std  # type: ignore[no-any-return]

    def decode_images(self, latents: Tensor) -> Tensor:
        """All frames at once."""
        vae: Any = self.vae
        mean, std = self._statistics(latents)
        return vae.decode(latents * std + mean).sample[0].transpose(0, 1)  # type: ignore[no-any-return]

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        config: Any = self.vae.config  # type: ignore[union-attr]
        mean, std = (torch.tensor(values).to(like) for values in (config.latents_mean, config.latents_std))
        return mean.view(1, -1, 1, 1, 1), std.view(1, -1, 1, 1, 1)

    def run(self, latents: Tensor, timestep: int, text: Text, image_latents: Tensor | None) -> Tensor:
        """Time is the noise level times 1000."""
        assert text.states is not None
        batch, given = latents.shape[0], latents
        time = torch.full((batch,), self.noise_levels[timestep], device=latents.device)
        if self.sees_picture:
            patch = self.denoiser_config["patch_size"]
            per_frame = (latents.shape[3] // patch[1]) * (latents.shape[4] // patch[2])
            noisy = torch.ones(latents.shape[2] // patch[0], per_frame, device=latents.device)
            if image_latents is not None:
                given = torch.cat([image_latents[:, :, None], latents[:, :, 1:]], dim=2)
                noisy[0] = 0.0
            time = time[:, None] * noisy.flatten()
        out = self.denoiser(hidden_states=given, timestep=time, encoder_hidden_states=text.states, return_dict=False)[0]
        return given_first(self.parameterization, out, latents, timestep, image_latents)
