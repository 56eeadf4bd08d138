"""MV-VDM as a prior of V views: it is given the asset's own picture from each view, and what moves follows.

Latents are [B, V, C, T, h, w]. Frame 0 of every view is the given picture: clean in what the network sees, at every
timestep, and in every prediction (Animate3D, section 3.1). All else is as in ``PublishedModel``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from diffusers import DDIMScheduler
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from stages.cameras import Camera
from stages.errors import BadInput
from stages.gaussians import Gaussians
from stages.priors.multiview.cameras import in_own_frame, views_around
from stages.priors.multiview.unet import MultiViewUNetMotionModel
from stages.priors.parameterization import Parameterization
from stages.priors.prior import ClipShape, Condition, SeesViews, Text, Viewpoint, still
from stages.priors.published import PublishedModel


class MVVDMPrior(SeesViews, PublishedModel):
    """``MultiViewUNetMotionModel`` with Stable Diffusion's autoencoder and text encoder, and CLIP-H's image encoder."""

    denoiser_part = "unet"
    clip_default = ClipShape(16, 256, 256)
    max_tokens = 77
    background = 0.5
    """The grey that it was trained to see behind things."""

    def __init__(self, name: str, folder: Path, *args: Any, **options: Any) -> None:
        super().__init__(name, folder, *args, **options)
        self.num_views = int(self.index.get("num_views", 4))
        longest = int(self.denoiser_config["motion_max_seq_length"])
        if not 2 <= self.clip.num_frames <= longest:
            raise BadInput(f"{name} makes clips of 2 to {longest} frames, not {self.clip.num_frames}.")

    @property
    def size_multiple(self) -> int:
        """Every level but the last halves the latent, whose pixels the autoencoder halves as often."""
        shrinks = len(self.denoiser_config["block_out_channels"]) + len(self.vae_config["block_out_channels"]) - 2
        return int(2**shrinks)

    def schedule(self) -> Parameterization:
        """Variance preserving, from the config's betas."""
        scheduler = DDIMScheduler.from_config(self.scheduler_config)
        return Parameterization.from_betas(scheduler.betas, scheduler.config.prediction_type)

    def ladder(self, steps: int) -> list[int]:
        """The timesteps of sampling in ``steps`` steps, clean to noisy: evenly spaced from the first on, moved by the
        scheduler's ``steps_offset``, as diffusers' "leading" spacing."""
        count = self.parameterization.num_timesteps
        offset = int(self.scheduler_config.get("steps_offset", 0))
        return [min(count - 1, index * (count // steps) + offset) for index in range(min(steps, count))]

    @cached_property
    def denoiser(self) -> nn.Module:
        """What a LoRA adapts."""
        unet = self._from_folder("unet", MultiViewUNetMotionModel)
        return self.prepared(unet.to(self.device).eval().requires_grad_(False))

    @cached_property
    def image_encoder(self) -> nn.Module:
        """CLIP's image encoder."""
        return self._load("image_encoder")

    @cached_property
    def _image_processor(self) -> Any:
        return self._from_folder("image_processor", transformers.AutoImageProcessor)

    def prepared_vae(self, module: Any) -> Any:
        """As it is: ``_in_parts`` works frames out again, and once is enough."""
        return module

    # what it sees

    def cameras_around(self, asset: Gaussians, azimuth_deg: float) -> tuple[Camera, ...]:
        """See ``MultiViewPrior.cameras_around``."""
        return views_around(asset, azimuth_deg, self.num_views, self.clip)

    def encode(self, frames: Tensor) -> Tensor:
        """See ``MultiViewPrior.encode``: the mean of each frame's latent distribution, scaled; a few at a time."""
        vae: Any = self.vae
        images = (2.0 * frames.flatten(0, 1) - 1.0).permute(0, 3, 1, 2).to(self.dtype)
        latents = self._in_parts(lambda part: vae.encode(part).latent_dist.mode(), images)
        scaled = latents.float() * vae.config.scaling_factor
        return scaled.unflatten(0, frames.shape[:2]).transpose(1, 2)[None]

    @torch.no_grad()
    def decode_views(self, latents: Tensor) -> Tensor:
        """See ``MultiViewPrior.decode_views``; a few frames at a time."""
        vae: Any = self.vae
        frames = latents[0].transpose(1, 2)
        parts = (frames.flatten(0, 1) / vae.config.scaling_factor).to(self.dtype)
        images = self._in_parts(lambda part: vae.decode(part).sample, parts).float()
        return (0.5 * images.permute(0, 2, 3, 1) + 0.5).clamp(0.0, 1.0).unflatten(0, frames.shape[:2])

    @torch.no_grad()
    def still_latents(self, asset: Gaussians, viewpoint: Viewpoint) -> Tensor:
        """See ``Prior.still_latents``; each picture is encoded once."""
        return self.encode(self._pictures(asset, viewpoint)).expand(-1, -1, -1, self.clip.num_frames, -1, -1)

    @torch.no_grad()
    def condition(self, text: Text, asset: Gaussians, viewpoint: Viewpoint) -> Condition:
        """See ``Prior.condition``: latents of the asset's pictures, what CLIP says of them, and the cameras."""
        return self.given(text, self._pictures(asset, viewpoint)[:, 0], in_own_frame(viewpoint.cameras))

    @torch.no_grad()
    def given(self, text: Text, pictures: Tensor, cameras: Tensor) -> Condition:
        """``text``, ``pictures`` [V, H, W, 3] in [0, 1] and ``cameras`` [V, 4, 4] in the prior's own frame."""
        picture = self.encode(pictures[:, None])[:, :, :, 0]
        return Condition(text, picture, self.appearance(pictures), cameras.to(picture))

    def appearance(self, pictures: Tensor) -> Tensor:
        """What CLIP says of ``pictures`` [V, H, W, 3], by way of pictures of whole numbers: [1, V, 1, D]."""
        whole = (255.0 * pictures.detach().clamp(0.0, 1.0)).round().to(torch.uint8).cpu()
        said: Any = self.image_encoder(self._pixels(whole).to(self.device, self.dtype))
        return said.image_embeds[None, :, None].float()

    def _pixels(self, pictures: Tensor) -> Tensor:
        """``pictures`` [V, H, W, 3] of whole numbers as CLIP is shown them, [V, 3, H', W']."""
        return self._image_processor(images=list(pictures.numpy()), return_tensors="pt").pixel_values

    def _pictures(self, asset: Gaussians, viewpoint: Viewpoint) -> Tensor:
        """The asset at rest from each camera, [V, 1, H, W, 3]."""
        return torch.stack([still(asset, one) for one in viewpoint.each()])

    def _in_parts(self, work: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
        """``work`` on a few frames at a time; a gradient may work each part out again."""
        parts = frames.split(self.profile.frames_at_once)
        if self.profile.checkpointing and torch.is_grad_enabled():
            return torch.cat([checkpoint(work, part, use_reentrant=False) for part in parts])
        return torch.cat([work(part) for part in parts])

    # what it says

    def predict(self, latents: Tensor, timestep: int, condition: Condition) -> Tensor:
        """See ``Prior.predict``, for latents [B, V, C, T, h, w]: frame 0 is replaced by the given picture before, and
        its prediction by the one that implies that picture after.

        The null prompt is the unconditional branch: it keeps frame 0, and CLIP's view of the picture is zero, as in the
        released pipeline (``encode_image``).
        """
        text, batch = condition.text, len(latents)
        assert condition.picture is not None and condition.appearance is not None and condition.cameras is not None
        assert text.states is not None
        first = condition.picture.expand(batch, *condition.picture.shape[1:])[:, :, :, None].to(latents)
        appearance = condition.appearance[:, :, 0].expand(batch, -1, -1)
        said = latents.new_tensor([[[float(bool(prompt.strip()))]] for prompt in text.prompts])
        cameras = condition.cameras.flatten(1).expand(batch, -1, -1)
        predicted = self.denoiser(
            torch.cat([first, latents[:, :, :, 1:]], dim=3).to(self.dtype),
            torch.full((batch,), timestep, device=latents.device),
            text.states.to(self.dtype),
            (said * appearance).to(self.dtype),
            cameras.to(latents.device, self.dtype),
        )
        implied = self.parameterization.from_x0(first, latents[:, :, :, :1], timestep)
        return torch.cat([implied.float(), predicted[:, :, :, 1:].float()], dim=3)
