"""MV-VDM as a folder in diffusers' format: what stands in it, and writing one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers import DDIMScheduler

from stages.files import strip_local_path, write_json
from stages.priors.autoencoder import PatchAutoencoder

PIPELINE = "MVVDMPipeline"
"""``_class_name`` of its ``model_index.json``."""
CLASSES = {
    "unet": ("animus3d", "MultiViewUNetMotionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "image_encoder": ("transformers", "CLIPVisionModelWithProjection"),
}
"""Part with weights -> library and class."""


def ddim_scheduler(prediction_type: str = "epsilon") -> Any:
    """The schedule that Animate3D trained with (its config, ``noise_scheduler_kwargs``)."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="linear",
        steps_offset=1,
        clip_sample=False,
        prediction_type=prediction_type,
    )


def write_folder(
    folder: Path,
    parts: Mapping[str, Any],
    tokenizer: Any,
    *,
    picture_px: int = 224,
    num_views: int = 4,
    prediction_type: str = "epsilon",
) -> None:
    """Write ``parts``, one for each of ``CLASSES``, and all else that ``load_prior`` reads; the index comes last.

    ``picture_px``: size of the pictures that the image encoder reads.
    """
    for part in CLASSES:
        parts[part].save_pretrained(folder / part)
        strip_local_path(folder / part / "config.json")
    ddim_scheduler(prediction_type).save_config(folder / "scheduler")
    tokenizer.save_pretrained(folder / "tokenizer")
    (folder / "image_processor").mkdir(exist_ok=True)
    write_json(folder / "image_processor" / "preprocessor_config.json", pictures_for_clip(picture_px))
    index: dict[str, Any] = {"_class_name": PIPELINE, "num_views": num_views}
    index |= {part: list(names) for part, names in CLASSES.items()}
    if isinstance(parts["vae"], PatchAutoencoder):
        index["vae"] = ["animus3d", "PatchAutoencoder"]
    index["scheduler"] = ["diffusers", "DDIMScheduler"]
    index["tokenizer"] = ["transformers", "CLIPTokenizer"]
    index["image_processor"] = ["transformers", "CLIPImageProcessor"]
    write_json(folder / "model_index.json", index)


def pictures_for_clip(size_px: int) -> dict[str, Any]:
    """How CLIP is shown a picture: its middle, scaled to ``size_px``, with CLIP's own mean and deviation."""
    return {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": size_px},
        "crop_size": {"height": size_px, "width": size_px},
        "resample": 3,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
