"""Published models at their true shapes, without their weights: what ``bench_memory`` and ``bench_published`` measure.

Sizes are those of the configs on the hub; parameter counts are checked against what their cards say.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AnyFlowTransformer3DModel,
    AutoencoderKL,
    AutoencoderKLCogVideoX,
    AutoencoderKLLTXVideo,
    AutoencoderKLWan,
    CogVideoXDDIMScheduler,
    CogVideoXTransformer3DModel,
    DDIMScheduler,
    FlowMapEulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LTXVideoTransformer3DModel,
    SkyReelsV2Transformer3DModel,
    UNet3DConditionModel,
    UniPCMultistepScheduler,
    WanTransformer3DModel,
)
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from stages.priors.published import PublishedPrior

T5_XXL = 4_762_310_656
"""Parameters of T5 1.1's largest encoder (CogVideoX, LTX)."""
UMT5_XXL = 5_680_910_336
"""Of UMT5's (Wan), whose vocabulary is larger."""
CLIP_H = 340_387_840
"""Of OpenCLIP ViT-H's text model (ModelScope)."""
CLIP_H_PICTURES = CLIPVisionConfig(
    hidden_size=1280,
    intermediate_size=5120,
    num_hidden_layers=32,
    num_attention_heads=16,
    image_size=224,
    patch_size=14,
)
"""Of its eyes (Wan 2.1 I2V)."""


@dataclass(frozen=True)
class TrueModel:
    """How to build the parts, and what they should come to."""

    pipeline: str
    denoiser: Callable[[], nn.Module]
    vae: Callable[[], nn.Module]
    scheduler: Callable[[], Any]
    billions: float  # of the denoiser's parameters, by its card
    text_encoder: int  # parameters
    text: tuple[int, int]  # tokens and width of a prompt's states
    image_encoder: Callable[[], nn.Module] | None = None
    more: dict[str, Any] = field(default_factory=dict)  # what else ``model_index.json`` says

    def build(self) -> Parts:
        """All that a stage holds at once, frozen."""
        experts = 2 if "boundary_ratio" in self.more else 1
        eyes = None if self.image_encoder is None else self.image_encoder()
        parts = Parts([self.denoiser() for _ in range(experts)], self.vae(), eyes)
        for module in parts.modules():
            module.eval().requires_grad_(False)
        return parts


@dataclass(frozen=True)
class Parts:
    """Of a model, without its text encoder."""

    denoisers: list[nn.Module]  # one, or the expert for high noise and that for low
    vae: nn.Module
    image_encoder: nn.Module | None

    def modules(self) -> list[nn.Module]:
        """All of them."""
        return [*self.denoisers, self.vae, *([] if self.image_encoder is None else [self.image_encoder])]

    def hand_to(self, prior: PublishedPrior) -> None:
        """In place of what ``prior`` would load."""
        prepared = [prior.prepared(denoiser) for denoiser in self.denoisers]
        experts = nn.ModuleDict(dict(zip(("high", "low"), prepared, strict=False)))
        given: dict[str, Any] = {"denoiser": prepared[0] if len(prepared) == 1 else experts}
        given["vae"] = prior.prepared_vae(self.vae)
        if self.image_encoder is not None:
            size = CLIP_H_PICTURES.image_size
            given |= {"image_encoder": self.image_encoder, "_pixels": lambda _: torch.zeros(1, 3, size, size)}
        prior.__dict__.update(given)


def _sd_vae() -> nn.Module:
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
    )


def _cogvideox_scheduler() -> Any:
    return CogVideoXDDIMScheduler(
        prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing", snr_shift_scale=1.0
    )


WAN_TI2V = TrueModel(
    pipeline="WanPipeline",
    denoiser=lambda: WanTransformer3DModel(
        num_attention_heads=24, in_channels=48, out_channels=48, ffn_dim=14336, num_layers=30
    ),
    vae=lambda: AutoencoderKLWan(
        base_dim=160,
        decoder_base_dim=256,
        z_dim=48,
        in_channels=12,
        out_channels=12,
        is_residual=True,
        patch_size=2,
        scale_factor_spatial=16,
        latents_mean=[0.0] * 48,
        latents_std=[1.0] * 48,
    ),
    scheduler=lambda: UniPCMultistepScheduler(use_flow_sigmas=True, flow_shift=5.0),
    billions=5.0,
    text_encoder=UMT5_XXL,
    text=(512, 4096),
    more={"expand_timesteps": True},
)
"""Of Wan 2.2, and, distilled to three steps, of FastWan."""

TRUE_MODELS = {
    "ali-vilab/text-to-video-ms-1.7b": TrueModel(
        pipeline="TextToVideoSDPipeline",
        denoiser=lambda: UNet3DConditionModel(sample_size=32),
        vae=_sd_vae,
        scheduler=lambda: DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        billions=1.41,
        text_encoder=CLIP_H,
        text=(77, 1024),
    ),
    "THUDM/CogVideoX-2b": TrueModel(
        pipeline="CogVideoXPipeline",
        denoiser=lambda: CogVideoXTransformer3DModel(),
        vae=lambda: AutoencoderKLCogVideoX(),
        scheduler=_cogvideox_scheduler,
        billions=1.69,
        text_encoder=T5_XXL,
        text=(226, 4096),
    ),
    "THUDM/CogVideoX-5b": TrueModel(
        pipeline="CogVideoXPipeline",
        denoiser=lambda: CogVideoXTransformer3DModel(
            num_attention_heads=48, num_layers=42, use_rotary_positional_embeddings=True
        ),
        vae=lambda: AutoencoderKLCogVideoX(scaling_factor=0.7),
        scheduler=_cogvideox_scheduler,
        billions=5.57,
        text_encoder=T5_XXL,
        text=(226, 4096),
    ),
    "THUDM/CogVideoX-5b-I2V": TrueModel(
        pipeline="CogVideoXImageToVideoPipeline",
        denoiser=lambda: CogVideoXTransformer3DModel(
            in_channels=32,
            num_attention_heads=48,
            num_layers=42,
            use_rotary_positional_embeddings=True,
            use_learned_positional_embeddings=True,
        ),
        vae=lambda: AutoencoderKLCogVideoX(scaling_factor=0.7),
        scheduler=_cogvideox_scheduler,
        billions=5.57,
        text_encoder=T5_XXL,
        text=(226, 4096),
    ),
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": TrueModel(
        pipeline="WanPipeline",
        denoiser=lambda: WanTransformer3DModel(num_attention_heads=12, ffn_dim=8960, num_layers=30),
        vae=lambda: AutoencoderKLWan(),
        scheduler=lambda: UniPCMultistepScheduler(use_flow_sigmas=True, flow_shift=3.0),
        billions=1.42,
        text_encoder=UMT5_XXL,
        text=(512, 4096),
    ),
    "Wan-AI/Wan2.2-TI2V-5B-Diffusers": WAN_TI2V,
    "FastVideo/FastWan2.2-TI2V-5B-FullAttn-Diffusers": replace(WAN_TI2V, pipeline="WanDMDPipeline"),
    "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers": TrueModel(
        pipeline="WanImageToVideoPipeline",
        denoiser=lambda: WanTransformer3DModel(in_channels=36, image_dim=1280, added_kv_proj_dim=5120),
        vae=lambda: AutoencoderKLWan(),
        scheduler=lambda: UniPCMultistepScheduler(use_flow_sigmas=True, flow_shift=3.0),
        billions=16.4,
        text_encoder=UMT5_XXL,
        text=(512, 4096),
        image_encoder=lambda: CLIPVisionModel(CLIP_H_PICTURES),
    ),
    "Wan-AI/Wan2.2-I2V-A14B-Diffusers": TrueModel(
        pipeline="WanImageToVideoPipeline",
        denoiser=lambda: WanTransformer3DModel(in_channels=36),
        vae=lambda: AutoencoderKLWan(),
        scheduler=lambda: UniPCMultistepScheduler(use_flow_sigmas=True, flow_shift=3.0),
        billions=28.6,
        text_encoder=UMT5_XXL,
        text=(512, 4096),
        more={"boundary_ratio": 0.9},
    ),
    "nvidia/AnyFlow-Wan2.1-T2V-1.3B-Diffusers": TrueModel(
        pipeline="AnyFlowPipeline",
        denoiser=lambda: AnyFlowTransformer3DModel(num_attention_heads=12, ffn_dim=8960, num_layers=30),
        vae=lambda: AutoencoderKLWan(),
        scheduler=lambda: FlowMapEulerDiscreteScheduler(shift=5.0),
        billions=1.42,
        text_encoder=UMT5_XXL,
        text=(512, 4096),
    ),
    "Skywork/SkyReels-V2-I2V-1.3B-540P-Diffusers": TrueModel(
        pipeline="SkyReelsV2ImageToVideoPipeline",
        denoiser=lambda: SkyReelsV2Transformer3DModel(
            num_attention_heads=12,
            in_channels=36,
            ffn_dim=8960,
            num_layers=30,
            image_dim=1280,
            added_kv_proj_dim=1536,
        ),
        vae=lambda: AutoencoderKLWan(),
        scheduler=lambda: UniPCMultistepScheduler(use_flow_sigmas=True, flow_shift=5.0),
        billions=1.56,
        text_encoder=UMT5_XXL,
        text=(512, 4096),
        image_encoder=lambda: CLIPVisionModel(CLIP_H_PICTURES),
    ),
    "Lightricks/LTX-Video": TrueModel(
        pipeline="LTXPipeline",
        denoiser=lambda: LTXVideoTransformer3DModel(),
        vae=lambda: AutoencoderKLLTXVideo(),
        scheduler=lambda: FlowMatchEulerDiscreteScheduler(),
        billions=1.92,
        text_encoder=T5_XXL,
        text=(128, 4096),
    ),
}


def write_configs(name: str, parts: Parts, folder: Path) -> Path:
    """A folder with the configs of a model, and no weights."""
    model = TRUE_MODELS[name]
    part = "unet" if isinstance(parts.denoisers[0], UNet3DConditionModel) else "transformer"
    index: dict[str, Any] = {"_class_name": model.pipeline, **model.more}
    for key, module in ((part, parts.denoisers[0]), ("vae", parts.vae), ("scheduler", model.scheduler())):
        module.save_config(folder / key)  # type: ignore[operator]
        index[key] = ["diffusers", type(module).__name__]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder
