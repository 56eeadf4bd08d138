"""Wan 2.1 and 2.2: a transformer over latents of four frames, flow.

Members differ in how they see the picture. The text-to-video ones do not. TI2V is given its latents as the first latent
frame, at noise zero, and a timestep for every patch. I2V is given a whole clip beside the noisy one, the picture and
then grey, with channels that say which of its frames count; that of Wan 2.1 also reads the picture by CLIP.

The A14B members of Wan 2.2 are two experts, one for high noise and one for low; a LoRA adapts both.

Members distilled to a few steps are the same networks. FastWan's are known by their pipeline, ``WanDMDPipeline``.
Others (LightX2V, bidirectional CausVid) are LoRAs that diffusers merges into a member; its folder states the steps.
"""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from stages.errors import NotAvailable
from stages.priors.parameterization import Parameterization
from stages.priors.prior import ClipShape, Text
from stages.priors.published import PublishedPrior, given_first
from stages.priors.sampling import SamplingDefaults

FASTWAN = SamplingDefaults.few(1000.0, 757.0, 522.0, renoise=True)
"""Of FastWan 2.1 and 2.2 (FastVideo's ``FastWan2_1_T2V_480P_Config`` and ``DmdDenoisingStage``)."""
GATES = "to_gate_compress.weight"
"""Weights of video sparse attention (VSA): how much of a coarse attention is added to the fine one."""


class WanPrior(PublishedPrior):
    """``WanTransformer3DModel`` with ``AutoencoderKLWan`` and UMT5's encoder."""

    clip_default = ClipShape(17, 256, 256)
    max_tokens = 512

    def __init__(self, name: str, folder: Path, *args: Any, **options: Any) -> None:
        super().__init__(name, folder, *args, **options)
        config = self.denoiser_config
        beside = config["in_channels"] - config["out_channels"]
        if beside not in (0, self._picture_channels) or config.get("pos_embed_seq_len"):
            raise NotAvailable(
                f"{name} is a Wan model that is to be given more than a sentence and a picture.",
                "Use one of T2V, TI2V or I2V. See: animus3d priors",
            )
        if "Causal" in str(self.index.get("_class_name")):
            raise NotAvailable(
                f"{name} makes a video piece by piece, each from the ones before ({self.index['_class_name']}); here a "
                "clip is denoised as a whole.",
                "Use a model that is not causal. See: animus3d priors",
            )

    @property
    def sees_picture(self) -> bool:  # type: ignore[override]
        """Whether every patch has its own timestep, or a clip goes in beside the noisy one."""
        return self._is_given_first or self._is_given_clip

    @property
    def _is_given_first(self) -> bool:
        return bool(self.index.get("expand_timesteps", False))

    @property
    def _is_given_clip(self) -> bool:
        return bool(self.denoiser_config["in_channels"] > self.denoiser_config["out_channels"])

    @property
    def _picture_channels(self) -> int:
        """Of what goes in beside the noisy clip: for each of a latent frame's frames whether it counts, and latents."""
        return self.frames_rule + int(self.denoiser_config["out_channels"])

    @property
    def _boundary(self) -> float | None:
        """The noise level times 1000 from which on the first of two experts is asked; None where there is one."""
        ratio = self.index.get("boundary_ratio")
        return None if ratio is None else 1000.0 * float(ratio)

    @property
    def frames_rule(self) -> int:  # type: ignore[override]
        """Frames to a latent one."""
        return int(2 ** sum(self.vae_config.get("temperal_downsample", (False, True, True))))

    @property
    def size_multiple(self) -> int:
        """The autoencoder's shrinking times the transformer's patches."""
        shrink = self.vae_config.get("scale_factor_spatial") or 2 ** (len(self.vae_config["dim_mult"]) - 1)
        return int(shrink) * int(self.denoiser_config["patch_size"][1])

    def usual_sampling(self) -> SamplingDefaults:
        """As diffusers' pipeline, with the schedule's own shift; FastWan's members in their three steps."""
        return FASTWAN if self.index.get("_class_name") == "WanDMDPipeline" else SamplingDefaults(guidance=5.0)

    def schedule(self) -> Parameterization:
        """Straight paths with the scheduler's shift."""
        shift = self.scheduler_config.get("flow_shift") or self.scheduler_config.get("shift") or 1.0
        return Parameterization.rectified_flow(shift=float(shift))

    @cached_property
    def denoiser(self) -> nn.Module:
        """What a LoRA adapts: the transformer, or both of them, ``high`` and ``low``."""
        if self._boundary is None:
            return super().denoiser
        parts = {"high": "transformer", "low": "transformer_2"}
        return nn.ModuleDict({name: self.prepared(self._load(part)) for name, part in parts.items()})

    def _load(self, part: str) -> Any:
        if part.startswith("transformer") and _has_open_gates(self.folder / part):
            raise NotAvailable(
                f"{self.name} was distilled with sparse attention (VSA), which diffusers' {part} does not have.",
                "Use a member with full attention: FastVideo/FastWan2.2-TI2V-5B-FullAttn-Diffusers.",
            )
        return super()._load(part)

    @cached_property
    def image_encoder(self) -> nn.Module:
        """CLIP's image encoder."""
        return self._load("image_encoder")

    @cached_property
    def _image_processor(self) -> Any:
        return self._from_folder("image_processor", transformers.AutoImageProcessor)

    def read_prompts(self, encoder: Any, ids: Tensor, mask: Tensor) -> Tensor:
        """Zeros beyond the prompt's end."""
        states = encoder(ids, mask).last_hidden_state
        return states * mask[:, :, None].to(states)

    def encode_images(self, images: Tensor) -> Tensor:
        """The mean of the latents' distribution, each channel to zero mean and unit deviation."""
        vae: Any = self.vae
        mean, std = self._statistics(images)
        return (vae.encode(images.transpose(0, 1)[None]).latent_dist.mode() - mean) / std

    def decode_images(self, latents: Tensor) -> Tensor:
        """All frames at once."""
        vae: Any = self.vae
        mean, std = self._statistics(latents)
        return vae.decode(latents * std + mean).sample[0].transpose(0, 1)

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        config: Any = self.vae.config
        mean, std = (torch.tensor(values).to(like) for values in (config.latents_mean, config.latents_std))
        return mean.view(1, -1, 1, 1, 1), std.view(1, -1, 1, 1, 1)

    def encode_picture(self, frame: Tensor) -> Tensor | None:
        """For I2V [1, D]: latents of the picture followed by grey, then the tokens that CLIP reads, if it is asked."""
        if not self._is_given_clip:
            return super().encode_picture(frame)
        grey = torch.full_like(frame, 0.5).expand(self.clip.num_frames - 1, -1, -1, -1)
        read = [self.encode(torch.cat([frame, grey])).flatten(1)]
        if self.denoiser_config.get("image_dim") is not None:
            read.append(self._tokens(frame).flatten(1))
        return torch.cat(read, dim=1)

    def _tokens(self, frame: Tensor) -> Tensor:
        """What CLIP makes of ``frame`` [1, H, W, 3]: its last states but one, [1, L, D]."""
        pixels = self._pixels(frame).to(self.device, self.dtype)
        return self.image_encoder(pixels, output_hidden_states=True).hidden_states[-2].float()

    def _pixels(self, frame: Tensor) -> Tensor:
        """``frame`` as CLIP is shown it, [1, 3, H', W'], by way of a picture of whole numbers."""
        picture = (255.0 * frame[0].detach().clamp(0.0, 1.0)).round().to(torch.uint8).cpu().numpy()
        return self._image_processor(images=picture, return_tensors="pt").pixel_values

    def run(self, latents: Tensor, timestep: int, text: Text, image_latents: Tensor | None) -> Tensor:
        """Time is the noise level times 1000."""
        assert text.states is not None
        batch, given, level = latents.shape[0], latents, self.noise_levels[timestep]
        time, tokens, first = torch.full((batch,), level, device=latents.device), None, None
        if self._is_given_clip:
            beside, tokens = self._beside(latents, image_latents)
            given = torch.cat([latents, beside], dim=1)
        elif self._is_given_first:
            first, patch = image_latents, self.denoiser_config["patch_size"]
            per_frame = (latents.shape[3] // patch[1]) * (latents.shape[4] // patch[2])
            noisy = torch.ones(latents.shape[2] // patch[0], per_frame, device=latents.device)
            if first is not None:
                given = torch.cat([first[:, :, None], latents[:, :, 1:]], dim=2)
                noisy[0] = 0.0
            time = time[:, None] * noisy.flatten()
        out = self._expert(level)(
            hidden_states=given,
            timestep=time,
            encoder_hidden_states=text.states,
            encoder_hidden_states_image=tokens,
            return_dict=False,
        )[0]
        return given_first(self.parameterization, out, latents, timestep, first)

    def _expert(self, level: float) -> nn.Module:
        """The transformer that is asked at a noise level."""
        if self._boundary is None:
            return self.denoiser
        assert isinstance(self.denoiser, nn.ModuleDict)
        return self.denoiser["high" if level >= self._boundary else "low"]

    def _beside(self, latents: Tensor, image_latents: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What goes in beside ``latents`` [B, C, t, h, w]: channels [B, f + C, t, h, w], and CLIP's tokens [B, L, D].

        The first f channels say which frames of a latent one are given. Without a picture none is; CLIP reads nothing.
        """
        shape, width = latents.shape, self.denoiser_config.get("image_dim")
        counts = latents.new_zeros(shape[0], self.frames_rule, *shape[2:])
        if image_latents is None:
            tokens = None if width is None else latents.new_zeros(shape[0], 1, width)
            return torch.cat([counts, torch.zeros_like(latents)], dim=1), tokens
        counts[:, :, 0] = 1.0
        clip, rest = image_latents.tensor_split([math.prod(shape[1:])], dim=1)
        tokens = None if width is None else rest.unflatten(1, (-1, width))
        return torch.cat([counts, clip.reshape(shape)], dim=1), tokens


def _has_open_gates(folder: Path) -> bool:
    """Whether weights in ``folder`` have gates of a coarse attention that are not shut; only the gates are read."""
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as weights:
                if any(weights.get_tensor(name).any() for name in weights.keys() if name.endswith(GATES)):  # noqa: SIM118
                    return True
        except (OSError, SafetensorError):  # said where the weights are loaded
            return False
    return False
