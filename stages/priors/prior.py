"""What a video prior is to the rest of the project.

``predict(latents, timestep, text, image_latents=None)`` is the whole interface of a score: published text-to-video
models ignore ``image_latents``, image-to-video ones (and the embedded prior) are conditioned on it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from stages.priors.parameterization import Parameterization


@dataclass(frozen=True)
class Text:
    """B encoded prompts. Learned priors fill ``states`` and ``pooled``; an exact prior needs the words only."""

    prompts: tuple[str, ...]
    states: Tensor | None = None  # [B, L, D]
    pooled: Tensor | None = None  # [B, D]

    @staticmethod
    def stack(texts: Sequence[Text]) -> Text:
        """One batch of several."""
        prompts = tuple(prompt for text in texts for prompt in text.prompts)
        if any(text.states is None or text.pooled is None for text in texts):
            return Text(prompts)
        return Text(prompts, torch.cat([t.states for t in texts]), torch.cat([t.pooled for t in texts]))  # type: ignore[misc]


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
        """Latents [1, C, T, h, w] of ``frames`` [T, H, W, 3] in [0, 1]; differentiable."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Frames [T, H, W, 3] in [0, 1] of ``latents`` [1, C, T, h, w]."""
        ...

    def encode_text(self, prompts: Sequence[str]) -> Text:
        """Encoded prompts; "" is the null prompt."""
        ...

    def predict(
        self,
        latents: Tensor,  # [B, C, T, h, w] noisy
        timestep: int,
        text: Text,  # B prompts
        image_latents: Tensor | None = None,  # [B, C, h, w] the static asset from the same camera
    ) -> Tensor:  # [B, C, T, h, w] in the kind of ``parameterization``
        ...


def motions_named(prior: VideoPrior, prompt: str) -> list[str]:
    """The motions, of those that the model was taught, that a word of ``prompt`` says."""
    words = set(re.findall(r"[^\W\d_]+", prompt.lower()))
    return [motion for motion, forms in prior.motions.items() if words & set(forms)]


@runtime_checkable
class FlowPrior(VideoPrior, Protocol):
    """A video model that also says where the pixels of the picture go."""

    @property
    def reach(self) -> Mapping[str, float]:
        """Motion -> how far pixels go in clips of it: root mean square over whole pictures, in pixels, median."""
        ...

    def predict_flow(
        self,
        latents: Tensor,  # [B, C, T, h, w] noisy
        timestep: int,
        text: Text,  # B prompts
        image_latents: Tensor | None = None,  # [B, C, h, w] the static asset from the same camera
    ) -> Tensor:  # [B, 2, T, H, W] from where they are in the picture, as (x, y) in pixels
        ...
