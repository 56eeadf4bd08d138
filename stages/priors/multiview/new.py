"""A small model of views without a past, to be trained: a patch autoencoder, and all else with random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.utils import logging as transformers_logging

from stages.priors.autoencoder import PatchAutoencoder
from stages.priors.multiview.folder import write_folder
from stages.priors.multiview.unet import MultiViewUNetMotionModel
from stages.priors.text import build_text_encoder, build_tokenizer

EYES_PX = 32
"""Pictures of this size are read by the image encoder."""


def write_new_model(
    folder: Path,
    words: Sequence[str],
    images: Tensor,  # [B, 3, H, W] that the autoencoder is fitted to
    *,
    patch_size: int,
    latent_channels: int,
    widths: tuple[int, ...],
    num_heads: int,
    seed: int,
) -> None:
    """Write the folder of a model of a few levels, one for each of ``widths``."""
    transformers_logging.disable_progress_bar()
    autoencoder = PatchAutoencoder(patch_size=patch_size, latent_channels=latent_channels)
    autoencoder.fit(images)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = build_tokenizer(words)
        text_encoder = build_text_encoder(tokenizer, width=2 * widths[0])
        eyes = CLIPVisionConfig(
            hidden_size=widths[0],
            intermediate_size=widths[0],
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=EYES_PX,
            patch_size=8,
            projection_dim=widths[0],
        )
        levels = len(widths)
        unet = MultiViewUNetMotionModel(
            sample_size=images.shape[-1] // patch_size,
            in_channels=latent_channels,
            out_channels=latent_channels,
            down_block_types=(*("CrossAttnDownBlockMotion",) * (levels - 1), "DownBlockMotion"),
            up_block_types=("UpBlockMotion", *("CrossAttnUpBlockMotion",) * (levels - 1)),
            block_out_channels=widths,
            layers_per_block=1,
            norm_num_groups=8,
            cross_attention_dim=2 * widths[0],
            num_attention_heads=num_heads,
            motion_num_attention_heads=num_heads,
            image_embed_dim=widths[0],
        )
        unet.begin_at_base()
        parts: dict[str, Any] = {
            "unet": unet,
            "vae": autoencoder,
            "text_encoder": text_encoder,
            "image_encoder": CLIPVisionModelWithProjection(eyes),
        }
    # at much noise, where frame 0 says nearly all, an error in eps is many times that in the clip, one in v is not
    write_folder(folder, parts, tokenizer, picture_px=EYES_PX, prediction_type="v_prediction")
