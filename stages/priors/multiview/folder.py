"""MV-VDM as a folder in diffusers' format: what stands in it, and writing one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers import DDIMScheduler

from stages.files import strip_local_path

PIPELINE = "MVVDMPipeline"
"""``_class_name`` of its ``model_index.json``."""
CLASSES = {
    "unet": ("animus3d", "MultiViewUNetMotionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "image_encoder": ("transformers", "CLIPVisionModelWithProjection"),
}
"""Part with weights -> library and class."""


def ddim_scheduler() -> DDIMScheduler:
    """The schedule that Animate3D trained with (its config, ``noise_scheduler_kwargs``)."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="linear",
        steps_offset=1,
        clip_sample=False,
    )


def write_folder(
    folder: Path, parts: Mapping[str, Any], tokenizer: Any, image_processor: Any, *, num_views: int = 4
) -> None:
    """Write ``parts``, one for each of ``CLASSES``, and all else that ``load_prior`` reads; the index comes last."""
    for part in CLASSES:
        parts[part].save_pretrained(folder / part)
        strip_local_path(folder / part / "config.json")
    ddim_scheduler().save_pretrained(folder / "scheduler")
    tokenizer.save_pretrained(folder / "tokenizer")
    image_processor.save_pretrained(folder / "image_processor")
    index: dict[str, Any] = {"_class_name": PIPELINE, "num_views": num_views}
    index |= {part: list(names) for part, names in CLASSES.items()}
    index["scheduler"] = ["diffusers", "DDIMScheduler"]
    index["tokenizer"] = ["transformers", "CLIPTokenizer"]
    index["image_processor"] = ["transformers", "CLIPImageProcessor"]
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
