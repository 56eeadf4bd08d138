"""The embedded prior as a ``VideoPrior``: denoiser, autoencoder, words and schedule in one folder of diffusers' format.

::

    model_index.json    which class each part is
    transformer/        AnimusTransformer3DModel: config.json, diffusion_pytorch_model.safetensors
    vae/                PatchAutoencoder
    text_encoder/       transformers.CLIPTextModel
    tokenizer/          transformers.PreTrainedTokenizerFast
    scheduler/          diffusers.DDIMScheduler: betas and prediction type
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from logging import CRITICAL
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler
from diffusers.utils import logging as diffusers_logging
from torch import Tensor
from transformers import CLIPTextModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from stages.errors import BadInput, first_line
from stages.files import check_kinds, strip_local_path
from stages.priors.autoencoder import PatchAutoencoder
from stages.priors.find import EMBEDDED_PIPELINE, find_prior, read_index
from stages.priors.hub import class_of, missing_of_part
from stages.priors.parameterization import Parameterization
from stages.priors.prior import ClipShape, Condition, SeesVideo, Text
from stages.priors.sampling import SamplingDefaults
from stages.priors.sizes import check_sizes
from stages.priors.text import build_tokenizer, known_words, must_know, numbered
from stages.priors.transformer import AnimusTransformer3DModel

CLASSES = {
    "transformer": ("animus3d", "AnimusTransformer3DModel"),
    "vae": ("animus3d", "PatchAutoencoder"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "tokenizer": ("transformers", "PreTrainedTokenizerFast"),
    "scheduler": ("diffusers", "DDIMScheduler"),
}
"""Library and class of each part, as ``model_index.json`` names them."""
_KNOWN: dict[str, Any] = {  # newer versions of transformers call some of theirs by other names
    "AnimusTransformer3DModel": AnimusTransformer3DModel,
    "PatchAutoencoder": PatchAutoencoder,
    "CLIPTextModel": CLIPTextModel,
    "PreTrainedTokenizerFast": PreTrainedTokenizerFast,
    "DDIMScheduler": DDIMScheduler,
}


class EmbeddedPrior(SeesVideo):
    """Runs the embedded prior; all weights stay on one device, frozen unless ``train-prior`` unfreezes them."""

    def __init__(
        self,
        name: str,
        parts: dict[str, Any],
        device: torch.device | str = "cpu",
        motions: Mapping[str, list[str]] | None = None,
    ) -> None:
        self.name = name
        self.denoiser: AnimusTransformer3DModel = parts["transformer"].float().to(device)
        self.vae = parts["vae"].to(device)
        self.text_encoder = parts["text_encoder"].to(device)
        self.tokenizer = parts["tokenizer"]
        self.scheduler = parts["scheduler"]
        self.motions = dict(motions or {})
        self.device = torch.device(device)
        self.parameterization = Parameterization.from_betas(self.scheduler.betas, self.scheduler.config.prediction_type)
        config = parts["transformer"].config
        self.latent_shape = (config.in_channels, config.num_frames, config.sample_size, config.sample_size)
        pixels = config.sample_size * self.vae.config.patch_size
        self.clip = ClipShape(num_frames=config.num_frames, height=pixels, width=pixels)
        for module in (self.denoiser, self.vae, self.text_encoder):
            module.eval().requires_grad_(False)

    @property
    def sampling(self) -> SamplingDefaults:
        """As the sheets of its training show."""
        return SamplingDefaults(steps=16, guidance=3.0)

    def encode(self, frames: Tensor) -> Tensor:
        """See ``VideoPrior.encode``."""
        return self.vae.encode(frames.permute(0, 3, 1, 2)).permute(1, 0, 2, 3)[None]

    def encode_still(self, frame: Tensor) -> Tensor:
        """See ``VideoPrior.encode_still``: latents of each frame alone, so that one is enough."""
        return self.encode(frame).expand(-1, -1, self.clip.num_frames, -1, -1)

    def encode_picture(self, frame: Tensor) -> Tensor:
        """See ``VideoPrior.encode_picture``."""
        return self.encode(frame)[:, :, 0]

    def decode(self, latents: Tensor) -> Tensor:
        """See ``VideoPrior.decode``."""
        return self.vae.decode(latents[0].permute(1, 0, 2, 3)).permute(0, 2, 3, 1).clamp(0.0, 1.0)

    def encode_text(self, prompts: Sequence[str]) -> Text:
        """See ``VideoPrior.encode_text``."""
        longest = min(self.tokenizer.model_max_length, self.text_encoder.config.max_position_embeddings)
        tokens = numbered(self.tokenizer, prompts, longest, self.name)
        must_know(self.text_encoder, tokens.input_ids, self.name)
        encoded = self.text_encoder(tokens.input_ids.to(self.device))
        return Text(tuple(prompts), encoded.last_hidden_state, encoded.pooler_output)

    def learn_words(self, words: Sequence[str], seed: int = 0) -> None:
        """Make room for ``words`` that the tokenizer does not know; those it knows keep what they mean."""
        known = known_words(self.tokenizer)
        new = [word for word in words if word not in set(known)]
        if new:
            self.tokenizer = build_tokenizer(known + new)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.text_encoder.resize_token_embeddings(len(self.tokenizer))

    def predict(self, latents: Tensor, timestep: int, condition: Condition) -> Tensor:
        """See ``VideoPrior.predict``."""
        return self._predict(latents, timestep, condition)[0]

    def predict_pixel_flow(self, latents: Tensor, timestep: int, condition: Condition) -> Tensor:
        """See ``PixelFlowPrior.predict_pixel_flow``."""
        return self._predict(latents, timestep, condition)[1]

    def _predict(self, latents: Tensor, timestep: int, condition: Condition) -> tuple[Tensor, Tensor]:
        text, picture, batch = condition.text, condition.picture, latents.shape[0]
        assert text.states is not None and text.pooled is not None
        if picture is not None:
            picture = picture.expand(batch, -1, -1, -1)
        with autocast(self.device):
            prediction, flow = self.denoiser.predict_with_flow(
                latents,
                torch.full((batch,), timestep, device=latents.device),
                text.states,
                text.pooled,
                picture,
            )
        return prediction.float(), flow.float()

    def save(self, folder: Path) -> None:
        """Write the folder that ``load_prior`` reads; the denoiser in half precision."""
        folder.mkdir(parents=True, exist_ok=True)
        modules = (copy.deepcopy(self.denoiser).half(), self.vae, self.text_encoder, self.tokenizer, self.scheduler)
        for part, module in zip(CLASSES, modules, strict=True):
            module.save_pretrained(folder / part)
            strip_local_path(folder / part / "config.json")
        index: dict[str, Any] = {"_class_name": EMBEDDED_PIPELINE}
        index |= {part: list(names) for part, names in CLASSES.items()} | {"motions": self.motions}
        (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")

    @staticmethod
    def load(name: str, folder: Path, index: Mapping[str, Any], device: torch.device | str) -> EmbeddedPrior:
        """The prior in ``folder``.

        Raises:
            BadInput: a part of it is missing, damaged or of an unknown class.
        """
        diffusers_logging.set_verbosity(CRITICAL)
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        parts = {part: _load_part(folder, part, index) for part in CLASSES}
        return EmbeddedPrior(name, parts, device, index.get("motions"))


def load_embedded(name: str, device: torch.device | str = "cpu") -> EmbeddedPrior:
    """As ``stages.priors.load.load_prior``, for what only a prior of this project's own kind can do.

    Raises:
        BadInput: it is another kind.
    """
    folder = find_prior(name)
    index = read_index(folder)
    if index.get("_class_name") != EMBEDDED_PIPELINE:
        raise BadInput(f"{name} is a {index.get('_class_name')}; train-prior trains a {EMBEDDED_PIPELINE} only.")
    return EmbeddedPrior.load(name, folder, index, device)


def cosine_scheduler() -> DDIMScheduler:
    """The schedule the embedded prior is trained with: cosine (Nichol and Dhariwal 2021), v-prediction."""
    return DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", clip_sample=False)


def autocast(device: torch.device) -> Any:
    """bfloat16 autocast where the processor multiplies it natively, else nothing."""
    has_bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    if device.type == "cuda" or has_bf16():
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def _load_part(folder: Path, part: str, index: Mapping[str, Any]) -> Any:
    class_name = class_of(index, part)[1] or "nothing"
    if class_name not in _KNOWN:
        raise BadInput(f"{folder}/model_index.json names {class_name} as its {part}, which is not known here.")
    kind = _KNOWN[class_name]
    has_weights = hasattr(kind, "state_dict")
    options = {"use_safetensors": True, "output_loading_info": True} if has_weights else {}
    for missing in missing_of_part(folder / part, class_of(index, part)[0] or ""):
        raise BadInput(f"The {part} of the prior {folder} cannot be loaded: there is no {missing}.")
    try:
        check_sizes(folder / part)
        check_kinds(folder / part)
        loaded = kind.from_pretrained(folder / part, **options)
    except Exception as error:  # safetensors, json and transformers each raise their own kinds for a damaged file
        raise BadInput(f"The {part} of the prior {folder} cannot be loaded: {first_line(error)}.") from None
    if not has_weights:
        return loaded
    module, said = loaded
    if lacking := sorted({name for name, _ in module.named_parameters()} & set(said["missing_keys"])):
        raise BadInput(f"The {part} of the prior {folder} cannot be loaded: its weights lack {lacking[0]}.")
    return module
