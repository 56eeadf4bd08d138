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
from stages.errors import BadInput, first_line
from stages.gaussians import Gaussians
from stages.priors.autoencoder import PatchAutoencoder
from stages.priors.multiview.cameras import in_own_frame, views_around
from stages.priors.multiview.unet import MultiViewUNetMotionModel
from stages.priors.parameterization import Parameterization
from stages.priors.prior import ClipShape, Condition, SeesViews, Text, Viewpoint, still
from stages.priors.published import PublishedModel, read_json
from stages.priors.sampling import SamplingDefaults


class MVVDMPrior(PublishedModel, SeesViews):
    """``MultiViewUNetMotionModel`` with Stable Diffusion's autoencoder and text encoder, and CLIP-H's image encoder."""

    denoiser_part = "unet"
    clip_default = ClipShape(16, 256, 256)
    max_tokens = 77
    background = 0.5
    """The grey that it was trained to see behind things."""

    def __init__(self, name: str, folder: Path, *args: Any, **options: Any) -> None:
        super().__init__(name, folder, *args, **options)
        self.num_views = int(self.index.get("num_views", 4))
        words = folder / "text_encoder" / "config.json"
        if words.exists():  # it is missed when it is needed
            self.max_tokens = min(
                self.max_tokens, read_json(words, name).get("max_position_embeddings", self.max_tokens)
            )
        longest = int(self.denoiser_config["motion_max_seq_length"])
        if not 2 <= self.clip.num_frames <= longest:
            raise BadInput(f"{name} makes clips of 2 to {longest} frames, not {self.clip.num_frames}.")

    @property
    def size_multiple(self) -> int:
        """A pixel of the latent, which every level but the last halves."""
        shrink = self.vae_config.get("patch_size") or 2 ** (len(self.vae_config["block_out_channels"]) - 1)
        return int(shrink) * int(2 ** (len(self.denoiser_config["block_out_channels"]) - 1))

    def usual_sampling(self) -> SamplingDefaults:
        """As Animate3D samples; FreeInit comes on top (``stages.objectives.sample_views``)."""
        return SamplingDefaults(steps=25, guidance=7.5)

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

    @cached_property
    def vae(self) -> nn.Module:
        """Stable Diffusion's, or that of a model of this project's own. ``_in_parts`` works frames out again for a
        gradient: its layers' outputs are not kept."""
        if self.index["vae"][1] != PatchAutoencoder.__name__:
            return self._load("vae")
        return self._from_folder("vae", PatchAutoencoder).to(self.device).eval()

    # what it sees

    def cameras_around(self, asset: Gaussians, azimuth_deg: float) -> tuple[Camera, ...]:
        """See ``MultiViewPrior.cameras_around``."""
        return views_around(asset, azimuth_deg, self.num_views, self.clip)

    def encode(self, frames: Tensor) -> Tensor:
        """See ``MultiViewPrior.encode``; a few frames at a time."""
        images = frames.flatten(0, 1).permute(0, 3, 1, 2).to(self.dtype)
        latents = self._in_parts(self._encode_images, images).float()
        return latents.unflatten(0, frames.shape[:2]).transpose(1, 2)[None]

    @torch.no_grad()
    def decode_views(self, latents: Tensor) -> Tensor:
        """See ``MultiViewPrior.decode_views``; a few frames at a time."""
        frames = latents[0].transpose(1, 2)
        images = self._in_parts(self._decode_images, frames.flatten(0, 1).to(self.dtype)).float()
        return images.permute(0, 2, 3, 1).clamp(0.0, 1.0).unflatten(0, frames.shape[:2])

    def _encode_images(self, images: Tensor) -> Tensor:
        """Latents [B, C, h, w] of ``images`` [B, 3, H, W] in [0, 1]: the mean of their distribution, scaled."""
        vae: Any = self.vae
        if isinstance(vae, PatchAutoencoder):
            return vae.encode(images)
        return vae.encode(2.0 * images - 1.0).latent_dist.mode() * vae.config.scaling_factor

    def _decode_images(self, latents: Tensor) -> Tensor:
        """Images [B, 3, H, W] of ``latents``."""
        vae: Any = self.vae
        if isinstance(vae, PatchAutoencoder):
            return vae.decode(latents)
        return 0.5 * vae.decode(latents / vae.config.scaling_factor).sample + 0.5

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
        try:
            return self._image_processor(images=list(pictures.numpy()), return_tensors="pt").pixel_values
        except (TypeError, ValueError, KeyError, OverflowError) as error:  # settings of it that are none
            raise self._cannot_be_loaded("image_processor", first_line(error)) from None

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
