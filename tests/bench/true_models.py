"""Published models at their true shapes, without their weights: what ``bench_memory`` and ``bench_published`` measure.

Sizes are those of the configs on the hub; parameter counts are checked against what their cards say.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import (
    AutoencoderKL,
    AutoencoderKLCogVideoX,
    AutoencoderKLLTXVideo,
    AutoencoderKLWan,
    CogVideoXDDIMScheduler,
    CogVideoXTransformer3DModel,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    LTXVideoTransformer3DModel,
    UNet3DConditionModel,
    UniPCMultistepScheduler,
    WanTransformer3DModel,
)
from torch import nn

T5_XXL = 4_762_310_656
"""Parameters of T5 1.1's largest encoder (CogVideoX, LTX)."""
UMT5_XXL = 5_680_910_336
"""Of UMT5's (Wan), whose vocabulary is larger."""
CLIP_H = 340_387_840
"""Of OpenCLIP ViT-H's text model (ModelScope)."""


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
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": TrueModel(
        pipeline="WanPipeline",
        denoiser=lambda: WanTransformer3DModel(num_attention_heads=12, ffn_dim=8960, num_layers=30),
        vae=lambda: AutoencoderKLWan(),
        scheduler=lambda: UniPCMultistepScheduler(use_flow_sigmas=True, flow_shift=3.0),
        billions=1.42,
        text_encoder=UMT5_XXL,
        text=(512, 4096),
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


def write_configs(name: str, denoiser: nn.Module, vae: nn.Module, folder: Path) -> Path:
    """A folder with the configs of a model, and no weights."""
    model = TRUE_MODELS[name]
    part = "unet" if isinstance(denoiser, UNet3DConditionModel) else "transformer"
    index: dict[str, Any] = {"_class_name": model.pipeline}
    for key, module in ((part, denoiser), ("vae", vae), ("scheduler", model.scheduler())):
        module.save_config(folder / key)  # type: ignore[operator]
        index[key] = ["diffusers", type(module).__name__]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder
