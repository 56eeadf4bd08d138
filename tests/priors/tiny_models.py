"""Every published family in small: diffusers' own classes with random weights, in folders like those on the hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import sentencepiece
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
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    T5Config,
    T5EncoderModel,
    UMT5Config,
    UMT5EncoderModel,
)

from stages.priors.text import build_tokenizer
from stages.zoo.captions import motion_words

WORDS = sorted({word for forms in motion_words().values() for word in forms} | {"a", "deer", "goat"})
TOKENIZER = build_tokenizer(WORDS)
T5 = {"vocab_size": max(100, len(TOKENIZER)), "d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}


def _unet3d() -> dict[str, Any]:
    return {
        "unet": UNet3DConditionModel(
            sample_size=8,
            block_out_channels=(16, 32),
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
            layers_per_block=1,
            cross_attention_dim=32,
            attention_head_dim=8,
            norm_num_groups=8,
        ),
        "vae": AutoencoderKL(
            block_out_channels=(8, 16),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=8,
        ),
        "text_encoder": CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(TOKENIZER),
                hidden_size=32,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=77,
            )
        ),
        "scheduler": DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
    }


def _cogvideox(*, picture: bool = False, joined: bool = False, learnt: bool = False) -> dict[str, Any]:
    return {
        "transformer": CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=8 if picture else 4,
            out_channels=4,
            time_embed_dim=8,
            ofs_embed_dim=8 if joined and picture else None,
            text_embed_dim=32,
            num_layers=2,
            sample_width=6 if learnt else 8,
            sample_height=4 if learnt else 8,
            sample_frames=17 if learnt else 9,
            patch_size=2,
            patch_size_t=2 if joined else None,
            patch_bias=not joined,
            max_text_seq_length=16,
            use_rotary_positional_embeddings=True,
            use_learned_positional_embeddings=learnt,
        ),
        "vae": AutoencoderKLCogVideoX(
            block_out_channels=(8, 8, 8, 8),
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
            sample_height=32,
            sample_width=32,
            invert_scale_latents=joined,
        ),
        "text_encoder": T5EncoderModel(T5Config(**T5)),
        "scheduler": CogVideoXDDIMScheduler(
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            timestep_spacing="trailing",
            snr_shift_scale=1.0,
        ),
    }


def _wan_transformer(*, picture: bool = False, reads: bool = False) -> WanTransformer3DModel:
    return WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=36 if picture else 16,
        out_channels=16,
        text_dim=32,
        ffn_dim=32,
        num_layers=2,
        rope_max_seq_len=32,
        image_dim=16 if reads else None,
        added_kv_proj_dim=24 if reads else None,
    )


CLIP = CLIPVisionConfig(
    hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
)


def _skyreels() -> dict[str, Any]:
    transformer = SkyReelsV2Transformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=36,
        out_channels=16,
        text_dim=32,
        ffn_dim=32,
        num_layers=2,
        rope_max_seq_len=32,
        image_dim=16,
        added_kv_proj_dim=24,
    )
    return _wan() | {"transformer": transformer, "image_encoder": CLIPVisionModelWithProjection(CLIP)}


def _anyflow() -> dict[str, Any]:
    transformer = AnyFlowTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        text_dim=32,
        ffn_dim=32,
        num_layers=2,
        rope_max_seq_len=32,
    )
    return _wan() | {"transformer": transformer, "scheduler": FlowMapEulerDiscreteScheduler(shift=5.0)}


def _wan(*, picture: bool = False, reads: bool = False, experts: bool = False) -> dict[str, Any]:
    return {
        "transformer": _wan_transformer(picture=picture, reads=reads),
        **({"transformer_2": _wan_transformer(picture=picture)} if experts else {}),
        **({"image_encoder": CLIPVisionModel(CLIP)} if reads else {}),
        "vae": AutoencoderKLWan(base_dim=3, dim_mult=[1, 1, 1, 1], num_res_blocks=1),
        "text_encoder": UMT5EncoderModel(UMT5Config(**T5)),
        "scheduler": UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
    }


def _ltx() -> dict[str, Any]:
    return {
        "transformer": LTXVideoTransformer3DModel(
            in_channels=8,
            out_channels=8,
            num_attention_heads=4,
            attention_head_dim=8,
            cross_attention_dim=32,
            num_layers=2,
            caption_channels=32,
        ),
        "vae": AutoencoderKLLTXVideo(
            latent_channels=8,
            block_out_channels=(8, 8, 8, 8),
            decoder_block_out_channels=(8, 8, 8, 8),
            layers_per_block=(1, 1, 1, 1, 1),
            decoder_layers_per_block=(1, 1, 1, 1, 1),
            spatio_temporal_scaling=(True, True, True, False),
            decoder_spatio_temporal_scaling=(True, True, True, False),
            patch_size=1,
        ),
        "text_encoder": T5EncoderModel(T5Config(**T5)),
        "scheduler": FlowMatchEulerDiscreteScheduler(),
    }


MODELS: dict[str, tuple[str, Callable[[], dict[str, Any]], dict[str, Any]]] = {
    "modelscope": ("TextToVideoSDPipeline", _unet3d, {}),
    "cogvideox": ("CogVideoXPipeline", _cogvideox, {}),
    "cogvideox-i2v": ("CogVideoXImageToVideoPipeline", lambda: _cogvideox(picture=True), {}),
    "cogvideox-5b-i2v": ("CogVideoXImageToVideoPipeline", lambda: _cogvideox(picture=True, learnt=True), {}),
    "cogvideox-1.5-i2v": ("CogVideoXImageToVideoPipeline", lambda: _cogvideox(picture=True, joined=True), {}),
    "wan": ("WanPipeline", _wan, {}),
    "wan-ti2v": ("WanPipeline", _wan, {"expand_timesteps": True, "transformer_2": [None, None]}),
    "wan-i2v": ("WanImageToVideoPipeline", lambda: _wan(picture=True, reads=True), {}),
    "wan-2.2-t2v": ("WanPipeline", lambda: _wan(experts=True), {"boundary_ratio": 0.5}),
    "wan-2.2-i2v": ("WanImageToVideoPipeline", lambda: _wan(picture=True, experts=True), {"boundary_ratio": 0.5}),
    "fastwan-ti2v": ("WanDMDPipeline", _wan, {"expand_timesteps": True, "transformer_2": [None, None]}),
    "anyflow": ("AnyFlowPipeline", _anyflow, {}),
    "skyreels-i2v": ("SkyReelsV2ImageToVideoPipeline", _skyreels, {}),
    "ltx": ("LTXPipeline", _ltx, {}),
}
"""Name -> pipeline class, parts, and what else ``model_index.json`` says."""

SEES_PICTURE = {name for name in MODELS if "i2v" in name} | {"ltx"}


def small_clips(name: str) -> dict[str, int]:
    """Settings for clips as small as a model makes them."""
    size = {} if name == "cogvideox-5b-i2v" else {"size_px": 32}
    return {"num_frames": 5 if name.startswith(("wan", "fastwan", "anyflow", "skyreels", "modelscope")) else 9, **size}


def save_model(name: str, folder: Path) -> Path:
    """Write the model called ``name`` as a folder; the same weights every time."""
    pipeline, build, more = MODELS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = build()
        denoisers = [parts[part] for part in ("unet", "transformer", "transformer_2") if part in parts]
        for parameter in (p for denoiser in denoisers for p in denoiser.parameters() if not p.any()):
            torch.nn.init.normal_(parameter, std=0.05)  # zero-initialised outputs would hide mistakes
    index: dict[str, Any] = {"_class_name": pipeline, **more, "tokenizer": ["transformers", "PreTrainedTokenizerFast"]}
    for part, module in parts.items():
        module.save_pretrained(folder / part)
        library = "diffusers" if hasattr(diffusers, type(module).__name__) else "transformers"
        index[part] = [library, type(module).__name__]
    if "image_encoder" in parts:
        _save_image_processor(folder / "image_processor")
        index["image_processor"] = ["transformers", "CLIPImageProcessor"]
    if name.startswith("cogvideox"):
        _save_pieces(folder / "tokenizer")
        index["tokenizer"] = ["transformers", "T5Tokenizer"]
    else:
        TOKENIZER.save_pretrained(folder / "tokenizer")
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def _save_pieces(folder: Path) -> None:
    """A tokenizer in the format in which T5's come: pieces of words, counted, and no ``tokenizer.json``."""
    folder.mkdir()
    (folder / "words.txt").write_text("\n".join(f"a deer {word}, a goat {word}" for word in WORDS))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "words.txt"),
        model_prefix=str(folder / "spiece"),
        vocab_size=80,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    says = {"tokenizer_class": "T5Tokenizer", "extra_ids": 10, "eos_token": "</s>", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**says, "unk_token": "<unk>"}))


def _save_image_processor(folder: Path) -> None:
    """As on the hub, for smaller pictures."""
    folder.mkdir()
    says = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 28},
        "crop_size": {"height": 28, "width": 28},
        "resample": 3,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(says))
