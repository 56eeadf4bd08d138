"""What a video prior is to the rest of the project.

``predict(latents, timestep, text, image_latents=None)`` is the whole interface of a score: text-to-video models have no
``image_latents`` (``encode_picture`` gives None), image-to-video ones and the embedded prior are conditioned on them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeGuard

import torch
from torch import Tensor, nn

from stages.priors.parameterization import Parameterization


@dataclass(frozen=True)
class Text:
    """B encoded prompts. Learned priors fill ``states`` and what else they use, an exact prior needs the words only."""

    prompts: tuple[str, ...]
    states: Tensor | None = None  # [B, L, D]
    pooled: Tensor | None = None  # [B, D]
    mask: Tensor | None = None  # [B, L] 1 where there are words

    @staticmethod
    def stack(texts: Sequence[Text]) -> Text:
        """One batch of several."""

        def joined(name: str) -> Tensor | None:
            tensors = [getattr(text, name) for text in texts]
            return None if any(tensor is None for tensor in tensors) else torch.cat(tensors)

        prompts = tuple(prompt for text in texts for prompt in text.prompts)
        return Text(prompts, joined("states"), joined("pooled"), joined("mask"))

    def split(self) -> list[Text]:
        """One for each prompt."""
        parts = (self.states, self.pooled, self.mask)
        return [
            Text((prompt,), *(None if part is None else part[i : i + 1] for part in parts))
            for i, prompt in enumerate(self.prompts)
        ]


@dataclass(frozen=True)
class ClipShape:
    """The clips a prior was made for: frames and pixels."""

    num_frames: int
    height: int
    width: int


class VideoPrior(Protocol):
    """A frozen video model."""

    name: str
    parameterization: Parameterization
    clip: ClipShape

    @property
    def motions(self) -> Mapping[str, Sequence[str]]:
        """Motion -> the words that say it, for all that the model was taught; empty where that is the wide world."""
        ...

    @property
    def denoiser(self) -> nn.Module | None:
        """What a LoRA adapts; None where there is nothing to adapt."""
        ...

    def encode(self, frames: Tensor) -> Tensor:
        """Latents [1, C, t, h, w] of ``frames`` [T, H, W, 3] in [0, 1]; differentiable. Most published models join
        several frames to a latent one, so that t is less than T."""
        ...

    def encode_still(self, frame: Tensor) -> Tensor:
        """Latents [1, C, t, h, w] of a clip in which nothing moves: ``frame`` [1, H, W, 3] again and again."""
        ...

    def encode_picture(self, frame: Tensor) -> Tensor | None:
        """The ``image_latents`` of ``frame`` [1, H, W, 3]: [1, C, h, w], or [1, D] of what only the prior itself can
        tell apart; None for a model that sees no picture."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Frames [T, H, W, 3] in [0, 1] of ``latents`` [1, C, t, h, w]."""
        ...

    def encode_text(self, prompts: Sequence[str]) -> Text:
        """Encoded prompts; "" is the null prompt."""
        ...

    def predict(
        self,
        latents: Tensor,  # [B, C, T, h, w] noisy
        timestep: int,
        text: Text,  # B prompts
        image_latents: Tensor | None = None,  # [B, ...] the static asset from the same camera, see ``encode_picture``
    ) -> Tensor:  # [B, C, T, h, w] in the kind of ``parameterization``
        ...


def motions_named(prior: VideoPrior, prompt: str) -> list[str]:
    """The motions, of those that the model was taught, that a word of ``prompt`` says."""
    words = set(re.findall(r"[^\W\d_]+", prompt.lower()))
    return [motion for motion, forms in prior.motions.items() if words & set(forms)]


class FlowPrior(VideoPrior, Protocol):
    """A video model that also says where the pixels of the picture go."""

    def predict_flow(
        self,
        latents: Tensor,  # [B, C, T, h, w] noisy
        timestep: int,
        text: Text,  # B prompts
        image_latents: Tensor | None = None,  # [B, ...] the static asset from the same camera, see ``encode_picture``
    ) -> Tensor:  # [B, 2, T, H, W] from where they are in the picture, as (x, y) in pixels
        ...


def says_flow(prior: VideoPrior) -> TypeGuard[FlowPrior]:
    """Whether a prior is a ``FlowPrior``."""
    return hasattr(prior, "predict_flow")
