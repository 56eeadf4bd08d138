"""A published video model as a ``VideoPrior``: what all families share. Each family is one file in ``families/``.

Parts are loaded when they are first needed and only those that are: the text encoder, often the largest, reads the
prompts and is dropped before the denoiser comes. Weights are safetensors; nothing is unpickled.
"""

from __future__ import annotations

import gc
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from logging import CRITICAL
from pathlib import Path
from typing import Any, ClassVar

import diffusers
import torch
import transformers
from diffusers.utils import logging as diffusers_logging
from torch import Tensor, nn
from transformers.utils import logging as transformers_logging

from stages.errors import BadInput, NotAvailable, first_line
from stages.files import check_kinds
from stages.priors.hub import SAVE_AS_SAFETENSORS, class_of, download_again, has_pickles_only, missing_of_part
from stages.priors.parameterization import Parameterization
from stages.priors.prior import ClipShape, Condition, SeesVideo, Text
from stages.priors.profiles import PROFILES
from stages.priors.sampling import SamplingDefaults
from stages.priors.text import must_know, numbered

LARGE = 2 * 2**30
"""Bytes of weights from which a model is run in bfloat16 on a CPU too."""


MOST_TEXTS = 64
"""Prompts whose states are kept: those of T5 are megabytes each."""


class PublishedModel(ABC):
    """A frozen model in a local folder of diffusers' format: its parts, its sentences, the shape of its clips.

    Latents are float32 outside; inside a model everything is of ``dtype``.
    """

    denoiser_part: ClassVar[str] = "transformer"
    clip_default: ClassVar[ClipShape]
    """The clips it makes unless others are asked for."""
    frames_rule: ClassVar[int] = 1
    """Clips have a multiple of this many frames, plus one."""
    max_tokens: int
    """Tokens of a prompt; more are cut off."""

    def __init__(
        self,
        name: str,
        folder: Path,
        device: torch.device | str = "cpu",
        *,
        num_frames: int | None = None,
        size_px: int | None = None,
        min_frames: int | None = None,
        dtype: torch.dtype | None = None,
        profile: str = "24gb",
        compiled: bool = False,
    ) -> None:
        """``num_frames``, ``size_px`` and ``min_frames`` ask for clips of another shape, see ``load_prior``; ``dtype``
        None: bfloat16 on CUDA and for large models, else float32; ``compiled``: the denoiser goes through
        ``torch.compile``, on CUDA into graphs, when it is first used.

        Raises:
            BadInput: the shape of the clips breaks a rule of the family; a part's config cannot be read.
            NotAvailable: ``compiled``, and there is no compiler.
        """
        if compiled and not any(map(shutil.which, ("c++", "g++", "clang++"))):
            raise NotAvailable("compile=true needs a C++ compiler.", "For example: apt install g++; or leave it out.")
        diffusers_logging.set_verbosity(CRITICAL)
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        self.name, self.folder, self.device = name, folder, torch.device(device)
        self.index = read_json(folder / "model_index.json", name)
        self.denoiser_config = read_json(folder / self.denoiser_part / "config.json", name)
        self.vae_config = read_json(folder / "vae" / "config.json", name)
        self.scheduler_config = read_json(folder / "scheduler" / "scheduler_config.json", name)
        weights = sum(path.stat().st_size for path in folder.glob("*/*.safetensors"))
        large = self.device.type == "cuda" or weights > LARGE
        self.dtype = dtype or (torch.bfloat16 if large else torch.float32)
        self.profile, self.compiled = PROFILES[profile], compiled
        self.motions: Mapping[str, Sequence[str]] = {}
        self.parameterization = self.schedule()
        self.noise_levels: list[float] = (1000.0 * self.parameterization.sigmas).tolist()
        """1000 * sigma: the timestep input of rectified-flow models."""
        usual, rule = self.clip_default, self.frames_rule
        if min_frames is not None and rule > 1:
            num_frames = -(-(min_frames - 1) // rule) * rule + 1
        self.clip = ClipShape(num_frames or usual.num_frames, size_px or usual.height, size_px or usual.width)
        self._check_clip()
        said = self.index.get("sampling")
        where = folder / "model_index.json"
        self._sampling = self.usual_sampling() if said is None else SamplingDefaults.from_config(said, where)
        self._texts: dict[str, Text] = {}

    # what a family defines

    @property
    @abstractmethod
    def size_multiple(self) -> int:
        """Height and width of clips are multiples of this."""

    @abstractmethod
    def schedule(self) -> Parameterization:
        """The schedule that the scheduler's config describes."""

    @abstractmethod
    def usual_sampling(self) -> SamplingDefaults:
        """How the family's makers sample, unless the model's folder says otherwise."""

    def read_prompts(self, encoder: Any, ids: Tensor, mask: Tensor) -> Tensor:
        """States [B, L, D] of tokens ``ids`` [B, L]."""
        return encoder(ids).last_hidden_state

    # what all share

    @property
    def sampling(self) -> SamplingDefaults:
        """What ``sampling`` in the folder's ``model_index.json`` says, a word of this project's for models that have
        steps of their own (``docs/priors.md``); else the family's."""
        return self._sampling

    @cached_property
    def denoiser(self) -> nn.Module:
        """What a LoRA adapts."""
        return self.prepared(self._load(self.denoiser_part))

    def prepared(self, module: Any) -> Any:
        """A denoiser as this profile wants it."""
        if self.profile.checkpointing:
            self.checkpoint_denoiser(module)
        if self.compiled:
            module.compile(mode="reduce-overhead" if self.device.type == "cuda" else None, dynamic=False)
        return module

    def checkpoint_denoiser(self, module: Any) -> None:
        """Checkpoint the blocks of ``module``: only their inputs are kept for the backward pass."""
        module.enable_gradient_checkpointing()

    @cached_property
    def vae(self) -> nn.Module:
        """The autoencoder."""
        return self.prepared_vae(self._load("vae"))

    def prepared_vae(self, module: Any) -> Any:
        """An autoencoder as this profile wants it: its layers' outputs are not kept, if it can do that."""
        if self.profile.checkpointing and module._supports_gradient_checkpointing:
            module.enable_gradient_checkpointing()
            for whole in (module.encoder, module.decoder):  # avoids nested checkpointing
                whole.gradient_checkpointing = False
        return module

    @torch.no_grad()
    def encode_text(self, prompts: Sequence[str]) -> Text:
        """See ``VideoPrior.encode_text``; new prompts are read together, by an encoder that is dropped afterwards."""
        if len(self._texts) >= MOST_TEXTS:
            self._texts.clear()
        new = sorted({prompt for prompt in prompts if prompt not in self._texts})
        if new:
            with self._aside():
                self._read(new)
        return Text.stack([self._texts[prompt] for prompt in prompts])

    def _read(self, new: Sequence[str]) -> None:
        """Read prompts, with an encoder that is dropped afterwards."""
        tokenizer = self._from_folder("tokenizer", transformers.AutoTokenizer)
        tokens = numbered(tokenizer, [" ".join(prompt.split()) for prompt in new], self.max_tokens, self.name)
        encoder = self._load("text_encoder")
        must_know(encoder, tokens.input_ids, self.name)
        mask = tokens.attention_mask.to(self.device)
        states = self.read_prompts(encoder, tokens.input_ids.to(self.device), mask)
        for i, prompt in enumerate(new):
            self._texts[prompt] = Text((prompt,), states=states[i : i + 1], mask=mask[i : i + 1])
        del encoder
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Within the block, parts that have been used already are not on the card: the text encoder may be as large."""
        used = [] if self.compiled else [vars(self)[name] for name in ("denoiser", "vae") if name in vars(self)]
        for part in used:
            part.to("cpu")
        try:
            yield
        finally:
            for part in used:
                part.to(self.device)

    def _check_clip(self) -> None:
        clip, rule, multiple = self.clip, self.frames_rule, self.size_multiple
        if (clip.num_frames - 1) % rule:
            below = (clip.num_frames - 1) // rule * rule + 1
            raise BadInput(
                f"{self.name} makes clips of {rule} k + 1 frames, not {clip.num_frames}.",
                f"Nearest: {below} or {below + rule}.",
            )
        for side, pixels in (("height", clip.height), ("width", clip.width)):
            if pixels % multiple or not pixels:
                raise BadInput(f"{self.name} makes clips whose {side} is a multiple of {multiple}, not {pixels}.")

    def _load(self, part: str) -> Any:
        """A part's module with its weights, frozen, on the device."""
        library, class_name = class_of(self.index, part)
        if class_name is None:
            raise BadInput(f"{self.folder / 'model_index.json'} names no {part}, which this model needs.")
        kind = getattr(diffusers if library == "diffusers" else transformers, class_name, None)
        if not (isinstance(kind, type) and issubclass(kind, (diffusers.ModelMixin, transformers.PreTrainedModel))):
            raise BadInput(
                f"{self.folder / 'model_index.json'} names {class_name} as its {part}, which is not known here."
            )
        return self._from_folder(part, kind).to(self.device).eval().requires_grad_(False)

    def _from_folder(self, part: str, kind: Any) -> Any:
        library = "diffusers" if _is_diffusers(kind) else "transformers"
        for file in missing_of_part(self.folder / part, library):
            if has_pickles_only(file):
                raise BadInput(
                    f"{file.parent} has its weights as .bin only; nothing is unpickled here.", SAVE_AS_SAFETENSORS
                )
            raise _incomplete(file)
        has_weights = part not in ("tokenizer", "image_processor")
        options: dict[str, Any] = {"trust_remote_code": False} if library == "transformers" else {}
        if has_weights:
            options |= {"use_safetensors": True, "output_loading_info": True}
            options["torch_dtype" if _is_diffusers(kind) else "dtype"] = self.dtype
        try:
            check_kinds(self.folder / part)
            loaded = kind.from_pretrained(self.folder / part, **options)
        except Exception as error:  # safetensors, json and both libraries each raise their own kinds
            raise self._cannot_be_loaded(part, first_line(error)) from None
        if not has_weights:
            return loaded
        module, said = loaded
        lacking = sorted(set(said["missing_keys"]) & {name for name, _ in module.named_parameters()})
        if lacking:  # both libraries would go on with random numbers
            raise self._cannot_be_loaded(part, f"its weights lack {lacking[0]} ({len(lacking)} missing in all)")
        return module

    def _cannot_be_loaded(self, part: str, reason: str) -> BadInput:
        said = f"The {part} of the prior {self.folder} cannot be loaded: {reason}."
        return BadInput(said, download_again(self.name, part))


class PublishedPrior(PublishedModel, SeesVideo):
    """A frozen video model in a local folder of diffusers' format."""

    sees_picture = False
    """Whether it is conditioned on the static asset's picture."""

    # what a family defines

    @abstractmethod
    def encode_images(self, images: Tensor) -> Tensor:
        """Normalised latents [1, C, t, h, w] of ``images`` [T, 3, H, W] in [-1, 1], as the VAE's own dtype."""

    @abstractmethod
    def decode_images(self, latents: Tensor) -> Tensor:
        """Images [T, 3, H, W] of latents [1, C, t, h, w]."""

    @abstractmethod
    def run(self, latents: Tensor, timestep: int, text: Text, image_latents: Tensor | None) -> Tensor:
        """One forward of the denoiser, in its own kind of prediction, [B, C, t, h, w]."""

    # what all share

    def encode(self, frames: Tensor) -> Tensor:
        """See ``VideoPrior.encode``."""
        images = (2.0 * frames - 1.0).permute(0, 3, 1, 2).to(self.dtype)
        return self.encode_images(images).float()

    def encode_still(self, frame: Tensor) -> Tensor:
        """See ``VideoPrior.encode_still``."""
        return self.encode(frame.expand(self.clip.num_frames, -1, -1, -1))

    def encode_picture(self, frame: Tensor) -> Tensor | None:
        """See ``VideoPrior.encode_picture``."""
        return self.encode(frame)[:, :, 0] if self.sees_picture else None

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """See ``VideoPrior.decode``."""
        images = self.decode_images(latents.to(self.dtype)).float()
        return (0.5 * images.permute(0, 2, 3, 1) + 0.5).clamp(0.0, 1.0)

    def predict(self, latents: Tensor, timestep: int, condition: Condition) -> Tensor:
        """See ``VideoPrior.predict``."""
        picture = condition.picture
        if picture is not None:
            picture = picture.expand(len(latents), *picture.shape[1:]).to(self.dtype)
        said = self.run(latents.to(self.dtype), timestep, condition.text, picture)
        return said.to(torch.float32, copy=True)  # a CUDA graph overwrites its output in the next call


def _is_diffusers(kind: type) -> bool:
    return issubclass(kind, diffusers.ModelMixin)


def _incomplete(file: Path) -> BadInput:
    return BadInput(f"{file} is missing; the model's folder is incomplete.", "Download it again.")


class Config(dict[str, Any]):
    """What a JSON file of a model's folder says.

    Raises:
        BadInput: it is asked for what the file lacks.
    """

    def __init__(self, values: dict[str, Any], path: Path, hint: str) -> None:
        super().__init__(values)
        self.path, self.hint = path, hint

    def __missing__(self, key: str) -> Any:
        raise BadInput(f"{self.path} lacks {key!r}.", self.hint)


def read_json(path: Path, name: str) -> Config:
    """A config in the folder of the model called ``name``.

    Raises:
        BadInput: it is not there, or damaged.
    """
    hint = download_again(name, path.parent.name)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _incomplete(path) from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} cannot be read: {first_line(error)}.", hint) from None
    if not isinstance(found, dict):
        raise BadInput(f"{path} is not a config: it holds no names and values.", hint)
    return Config(found, path, hint)


def given_first(
    parameterization: Parameterization, prediction: Tensor, latents: Tensor, timestep: int, image_latents: Tensor | None
) -> Tensor:
    """``prediction`` [B, C, t, h, w] with that of the first latent frame replaced by the one that implies the given
    picture [B, C, h, w]: image-to-video models are told that frame and their output for it means nothing."""
    if image_latents is None:
        return prediction
    first = parameterization.from_x0(image_latents[:, :, None].float(), latents[:, :, :1].float(), timestep)
    return torch.cat([first.to(prediction), prediction[:, :, 1:]], dim=2)
