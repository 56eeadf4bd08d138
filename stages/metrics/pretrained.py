"""CLIP and DINO from a folder or a hub id, in transformers' classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, CLIPModel, ViTModel
from transformers.utils import logging as transformers_logging

from stages.errors import BadInput, NotAvailable, first_line
from stages.files import all_must_end, check_kinds, shards_of
from stages.metrics.pixels import IMAGENET_MEAN, IMAGENET_STD, in_batches, normalise, resize

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class ClipEncoder:
    """Projected features of pictures and sentences (Radford et al. 2021).

    Raises:
        NotAvailable: no such folder, or the hub does not give it.
        BadInput: it is another kind of model, or damaged.
    """

    def __init__(self, name: str, device: str) -> None:
        self._model = _load(CLIPModel, "clip", name, "--clip").to(device)
        self._tokenizer = _guard(name, "--clip", lambda: AutoTokenizer.from_pretrained(name))
        self._name, self._device, self._size = name, device, self._model.config.vision_config.image_size
        vision = self._model.config.vision_config
        self.width = int(self._model.config.projection_dim)
        self.is_large = (vision.hidden_size, vision.patch_size) == (1024, 14)
        self.backbone = f"CLIP ViT {vision.hidden_size}/{vision.patch_size} at {vision.image_size} px, {_short(name)}"

    def images(self, images: Tensor) -> Tensor:
        """Features [..., D] of uint8 [..., H, W, 3]: bicubic to the model's size, as CLIP's own code."""
        return in_batches(self._look, images, self._device)

    @torch.no_grad()
    def text(self, sentence: str) -> Tensor:
        """Features [D] of a sentence, cut to the model's longest."""
        longest = self._model.config.text_config.max_position_embeddings
        tokens = _guard(
            self._name,
            "--clip",
            lambda: self._tokenizer(sentence, return_tensors="pt", truncation=True, max_length=longest),
        ).to(self._device)
        pooled = self._model.text_model(tokens["input_ids"], tokens["attention_mask"]).pooler_output
        return self._model.text_projection(pooled)[0].cpu()

    def _look(self, images: Tensor) -> Tensor:
        # CLIP resizes pictures of 8 bits, whose values cannot overshoot
        small = resize(images, self._size, "bicubic", antialias=True).clamp(0.0, 1.0)
        pooled = self._model.vision_model(normalise(small, CLIP_MEAN, CLIP_STD)).pooler_output
        return self._model.visual_projection(pooled)


class Dino:
    """The class token of a vision transformer (Caron et al. 2021); errors as of ``Clip``."""

    def __init__(self, name: str, device: str) -> None:
        self._model = _load(ViTModel, "vit", name, "--dino", add_pooling_layer=False).to(device)
        self._device, config = device, self._model.config
        self._size = config.image_size
        self.backbone = f"DINO ViT {config.hidden_size}/{config.patch_size} at {config.image_size} px, {_short(name)}"
        self.is_vbench = (config.hidden_size, config.patch_size, config.image_size) == (768, 16, 224)

    def images(self, images: Tensor) -> Tensor:
        """Features [..., D] of uint8 [..., H, W, 3]: bilinear to the model's size without a low-pass, as VBench."""
        return in_batches(self._look, images, self._device)

    def _look(self, images: Tensor) -> Tensor:
        small = resize(images, self._size, "bilinear", antialias=False)
        tokens = self._model(normalise(small, IMAGENET_MEAN, IMAGENET_STD)).last_hidden_state
        return tokens[:, 0]


def _load(kind: Any, model_type: str, name: str, option: str, **settings: Any) -> Any:
    """``kind`` with all of its weights."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    if not Path(name).is_dir() and (name.startswith((".", "/", "~")) or name.count("/") != 1):
        raise NotAvailable(f"There is no folder {name}.", f"Give {option} a folder, or a hub id such as owner/model.")
    all_must_end(Path(name))
    config = _guard(name, option, lambda: AutoConfig.from_pretrained(name))
    if config.model_type != model_type:
        raise BadInput(f"{name} is a {config.model_type} model, and {option} needs a {model_type}.")
    _guard(name, option, lambda: check_kinds(Path(name)))
    shards_of(Path(name) / "model.safetensors.index.json")
    model, found = _guard(name, option, lambda: kind.from_pretrained(name, output_loading_info=True, **settings))
    if found["missing_keys"]:  # transformers would fill them with random numbers
        raise BadInput(f"{name} has no weights for {min(found['missing_keys'])}.", "Fetch it again.")
    broken = next((key for key, weight in model.state_dict().items() if not weight.float().isfinite().all()), None)
    if broken is not None:
        raise BadInput(f"{name} has weights that are not finite, in {broken}.", "Fetch it again.")
    return model.eval().requires_grad_(False)


def _guard(name: str, option: str, load: Any) -> Any:
    """The result of ``load``; errors of transformers and the hub become one line."""
    try:
        return load()
    except Exception as error:  # they raise many unrelated classes
        reason = first_line(error)
        if Path(name).is_dir():
            raise BadInput(f"{name} cannot be loaded for {option}: {reason}.", "Fetch it again.") from None
        raise NotAvailable(
            f"{name} is neither a folder nor on this machine, and the hub did not give it ({reason}).",
            f"Where there is a connection: hf download {name} --local-dir MODEL; then here: {option} MODEL.",
        ) from None


def _short(name: str) -> str:
    return Path(name).name if Path(name).is_dir() else name
