"""CogVideoX: a transformer over latents of four frames each, v-prediction down to zero signal-to-noise.

The image-to-video members see the picture as further channels of the first latent frame. CogVideoX-5b-I2V has learnt
where a patch is, for one size of picture and 49 frames; fewer frames are the first of these.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import CogVideoXDDIMScheduler
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from torch import Tensor

from stages.errors import BadInput
from stages.priors.parameterization import Parameterization
from stages.priors.prior import ClipShape, Text
from stages.priors.published import PublishedPrior
from stages.priors.sampling import SamplingDefaults

OFS = 2.0
"""What the 1.5 image-to-video members expect as their ``ofs``."""


class CogVideoXPrior(PublishedPrior):
    """``CogVideoXTransformer3DModel`` with ``AutoencoderKLCogVideoX`` and T5's encoder."""

    @property
    def clip_default(self) -> ClipShape:  # type: ignore[override]
        """Where places are learnt the size is given."""
        return ClipShape(17, *(self._learnt_size or (256, 256)))

    @property
    def _learnt_size(self) -> tuple[int, int] | None:
        """Height and width of the pictures whose places are learnt; None where they are computed."""
        config = self.denoiser_config
        if not config.get("use_learned_positional_embeddings"):
            return None
        return self._shrink * config["sample_height"], self._shrink * config["sample_width"]

    def _check_clip(self) -> None:
        super()._check_clip()
        clip, size, most = self.clip, self._learnt_size, self.denoiser_config["sample_frames"]
        if size and ((clip.height, clip.width) != size or clip.num_frames > most):
            raise BadInput(
                f"{self.name} has learnt where pixels are, in clips of at most {most} frames of {size[1]} x {size[0]}: "
                f"it makes none of {clip.num_frames} frames of {clip.width} x {clip.height}.",
                f"Leave out size_px, and ask for {most} frames at most.",
            )

    def prepared(self, module: Any) -> Any:
        """Where places are learnt, those of the clip's frames are kept: asked for fewer frames than it has places for,
        the module itself would put computed ones there, which this member has never seen."""
        if self._learnt_size:
            places, clip = module.patch_embed, self.clip
            frames = (clip.num_frames - 1) // self.vae_config["temporal_compression_ratio"] + 1
            patches = frames * (clip.height // self.size_multiple) * (clip.width // self.size_multiple)
            places.pos_embedding = places.pos_embedding[:, : places.max_text_seq_length + patches]
            places.sample_frames = clip.num_frames
        return super().prepared(module)

    @property
    def max_tokens(self) -> int:  # type: ignore[override]
        """As the transformer was made for."""
        return int(self.denoiser_config.get("max_text_seq_length") or 226)

    @property
    def sees_picture(self) -> bool:  # type: ignore[override]
        """Image-to-video members have twice the channels."""
        return bool(self.denoiser_config["in_channels"] == 2 * self.vae_config["latent_channels"])

    @property
    def frames_rule(self) -> int:  # type: ignore[override]
        """Four frames to a latent one, and the decoder gives back the right number only for odd numbers of those."""
        return 2 * int(self.vae_config["temporal_compression_ratio"])

    @property
    def _shrink(self) -> int:
        return int(2 ** (len(self.vae_config["block_out_channels"]) - 1))

    @property
    def size_multiple(self) -> int:
        """The autoencoder's shrinking times the transformer's patches."""
        return self._shrink * int(self.denoiser_config["patch_size"])

    def usual_sampling(self) -> SamplingDefaults:
        """As diffusers' pipeline."""
        return SamplingDefaults(steps=50, guidance=6.0)

    def schedule(self) -> Parameterization:
        """The scheduler's own table, which is rescaled to end in pure noise."""
        scheduler: Any = CogVideoXDDIMScheduler.from_config(self.scheduler_config)
        abar = scheduler.alphas_cumprod.double()
        kind = scheduler.config.prediction_type
        return Parameterization(kind=kind, alphas=abar.sqrt(), sigmas=(1.0 - abar).sqrt())

    def encode_images(self, images: Tensor) -> Tensor:
        """The mean of the latents' distribution, scaled."""
        vae: Any = self.vae
        return vae.encode(images.transpose(0, 1)[None]).latent_dist.mode() * vae.config.scaling_factor

    def encode_picture(self, frame: Tensor) -> Tensor | None:
        """Some members were trained with the picture's latents divided by the scale instead."""
        picture = super().encode_picture(frame)
        vae: Any = self.vae
        if picture is not None and vae.config.invert_scale_latents:
            picture = picture / vae.config.scaling_factor**2
        return picture

    def decode_images(self, latents: Tensor) -> Tensor:
        """All frames at once."""
        vae: Any = self.vae
        return vae.decode(latents / vae.config.scaling_factor).sample[0].transpose(0, 1)

    def run(self, latents: Tensor, timestep: int, text: Text, image_latents: Tensor | None) -> Tensor:
        """Latents go in as [B, t, C, h, w]; the 1.5 members, which join latent frames, have the first one twice."""
        assert text.states is not None
        config, given = self.denoiser_config, latents
        if self.sees_picture:
            picture = torch.zeros_like(latents)
            if image_latents is not None:
                picture[:, :, 0] = image_latents
            given = torch.cat([latents, picture], dim=1)
        batch, twice = latents.shape[0], -latents.shape[2] % (config.get("patch_size_t") or 1)
        given = torch.cat([given[:, :, :twice], given], dim=2)
        ofs = None if config.get("ofs_embed_dim") is None else latents.new_full((1,), OFS)
        out = self.denoiser(
            hidden_states=given.transpose(1, 2),
            encoder_hidden_states=text.states,
            timestep=torch.full((batch,), timestep, device=latents.device),
            ofs=ofs,
            image_rotary_emb=self._places(given) if config.get("use_rotary_positional_embeddings") else None,
            return_dict=False,
        )[0]
        return out.transpose(1, 2)[:, :, twice:]

    def _places(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """Rotary embedding of every patch: where it would be in a clip of the size that the model was trained on."""
        config = self.denoiser_config
        patch, patch_t = config["patch_size"], config.get("patch_size_t")
        frames, rows, columns = given.shape[2], given.shape[3] // patch, given.shape[4] // patch
        whole_rows, whole_columns = config["sample_height"] // patch, config["sample_width"] // patch
        shared = {"embed_dim": config["attention_head_dim"], "grid_size": (rows, columns), "device": given.device}
        if patch_t is None:
            scale = min(whole_rows / rows, whole_columns / columns)  # as large as fits, in the middle
            high, wide = round(scale * rows), round(scale * columns)
            top, left = round((whole_rows - high) / 2), round((whole_columns - wide) / 2)
            corners = ((top, left), (top + high, left + wide))
            return get_3d_rotary_pos_embed(crops_coords=corners, temporal_size=frames, **shared)  # type: ignore[return-value]
        return get_3d_rotary_pos_embed(  # type: ignore[return-value]
            crops_coords=None,
            temporal_size=-(-frames // patch_t),
            grid_type="slice",
            max_size=(whole_rows, whole_columns),
            **shared,
        )
