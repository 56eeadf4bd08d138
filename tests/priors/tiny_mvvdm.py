"""MV-VDM in small: its own classes with random weights, in a folder like one that the converter writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from stages.priors.multiview.unet import MultiViewUNetMotionModel
from tests.priors.tiny_models import TOKENIZER

UNET: dict[str, Any] = {
    "sample_size": 4,
    "block_out_channels": (16, 32),
    "down_block_types": ("CrossAttnDownBlockMotion", "DownBlockMotion"),
    "up_block_types": ("UpBlockMotion", "CrossAttnUpBlockMotion"),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "cross_attention_dim": 32,
    "num_attention_heads": 2,
    "motion_num_attention_heads": 2,
    "image_embed_dim": 16,
}
"""Config of a network of two levels."""


def tiny_unet(**more: Any) -> MultiViewUNetMotionModel:
    """The network, with numbers that differ from zero everywhere: the same every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = MultiViewUNetMotionModel(**{**UNET, **more})
        for parameter in (p for p in unet.parameters() if not p.any()):
            torch.nn.init.normal_(parameter, std=0.1)
    return unet.eval().requires_grad_(False)
