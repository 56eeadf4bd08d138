"""The interface of a video prior: it observes a moving asset and predicts a clean clip for a noisy one.

``observe(frames, viewpoint)`` gives an ``Observation``, which carries the gradient back to the Gaussians;
``condition(text, asset, viewpoint)`` what the prior is told from there; ``predict(latents, timestep, condition)`` is
the score. An objective sees observations and conditions only, never a camera or a Gaussian.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, TypeGuard

import torch
from torch import Tensor, nn

from stages.cameras import Camera
from stages.conventions import frame_times
from stages.gaussians import Frames, Gaussians
from stages.priors.parameterization import Parameterization
from stages.priors.sampling import SamplingDefaults
from stages.raster import Rasterizer, render, render_flow
from stages.raster.ground import above_ground
from stages.raster.smoothing import smooth_gradient


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


@dataclass(frozen=True)
class Condition:
    """What a prior is given besides the noisy latents: B sentences, and what it saw of the asset at rest."""

    text: Text  # B prompts
    picture: Tensor | None = None  # [1 or B, ...] see ``VideoPrior.encode_picture``; None where no picture is seen
    appearance: Tensor | None = None  # [1 or B, V, L, D] what an image encoder says of each picture, for adapters
    cameras: Tensor | None = None  # [V, 4, 4] world-from-camera, in the prior's own frame, for priors that know them

    @staticmethod
    def stack(conditions: Sequence[Condition]) -> Condition:
        """One batch of several from the same viewpoint."""
        return replace(conditions[0], text=Text.stack([condition.text for condition in conditions]))


@dataclass(frozen=True)
class Viewpoint:
    """From where an asset is seen, before what, by which rasterizer: one camera, or V that see it at once."""

    camera: Camera
    background: Tensor  # [3], or a picture [H, W, 3] that is the same behind every frame
    rasterizer: Rasterizer
    ground_height: float | None = field(default=None, kw_only=True)  # y of a plane below which nothing is seen
    beside: tuple[Camera, ...] = field(default=(), kw_only=True)  # the other V - 1 cameras

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """All V cameras."""
        return (self.camera, *self.beside)

    def each(self) -> list[Viewpoint]:
        """One viewpoint for each camera."""
        return [replace(self, camera=camera, beside=()) for camera in self.cameras]


Wanted = Literal["latents", "pixel_flow"]
"""What can be asked of an observation."""


@dataclass(frozen=True)
class Observation:
    """What a prior saw of a moving asset from one viewpoint; differentiable with respect to the Gaussians' means. What
    was not wanted is None."""

    latents: Tensor | None = None  # [1, C, t, h, w], or [1, V, C, t, h, w] of a prior that sees V views
    pixel_flow: Tensor | None = None  # [T, H, W, 2] how far pixels have gone since rest, in pixels, times alpha
    alpha: Tensor | None = None  # [T, H, W, 1] of the asset at rest


class Prior(Protocol):
    """A frozen model of moving things, as far as objectives ask: it observes, is told, and predicts."""

    name: str
    parameterization: Parameterization
    clip: ClipShape

    @property
    def motions(self) -> Mapping[str, Sequence[str]]:
        """Motion -> the words that name it, for all that the model was taught; empty for open-vocabulary models."""
        ...

    @property
    def denoiser(self) -> nn.Module | None:
        """What a LoRA adapts; None where there is nothing to adapt."""
        ...

    def encode_text(self, prompts: Sequence[str]) -> Text:
        """Encoded prompts; "" is the null prompt."""
        ...

    def observe(
        self, frames: Frames, viewpoint: Viewpoint, wanted: Sequence[Wanted] = ("latents",), *, blur: float = 0.0
    ) -> Observation:
        """What is wanted of the moving asset. Gradients of pictures pass through a blur of deviation ``blur``, in
        heights of the picture (``stages.raster.smoothing``)."""
        ...

    def condition(self, text: Text, asset: Gaussians, viewpoint: Viewpoint) -> Condition:
        """``text`` and what the prior sees of the asset at rest from the viewpoint."""
        ...

    def still_latents(self, asset: Gaussians, viewpoint: Viewpoint) -> Tensor:
        """Latents of the asset from the viewpoint as it moves not at all, shaped as those of ``observe``."""
        ...

    def noise(self, like: Tensor, condition: Condition, generator: torch.Generator) -> Tensor:
        """Noise such as the model was trained with, shaped as the latents ``like``."""
        ...

    def frame_times(self, viewpoint: Viewpoint) -> Tensor:
        """The ``frame_time`` [T] of each frame that the prior sees from a viewpoint."""
        ...

    def predict(
        self,
        latents: Tensor,  # [B, C, T, h, w] noisy
        timestep: int,
        condition: Condition,  # of B prompts
    ) -> Tensor:  # [B, C, T, h, w] in the kind of ``parameterization``
        ...


class VideoPrior(Prior, Protocol):
    """A frozen video model."""

    def encode(self, frames: Tensor) -> Tensor:
        """Latents [1, C, t, h, w] of ``frames`` [T, H, W, 3] in [0, 1]; differentiable. Most published models join
        several frames to a latent one, so that t is less than T."""
        ...

    def encode_still(self, frame: Tensor) -> Tensor:
        """Latents [1, C, t, h, w] of a clip in which nothing moves: ``frame`` [1, H, W, 3] again and again."""
        ...

    def encode_picture(self, frame: Tensor) -> Tensor | None:
        """What stands for ``frame`` [1, H, W, 3] in a ``Condition``: [1, C, h, w], or [1, D] of what only the prior
        itself can tell apart; None for a model that sees no picture."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Frames [T, H, W, 3] in [0, 1] of ``latents`` [1, C, t, h, w]."""
        ...

    @property
    def sampling(self) -> SamplingDefaults:
        """How it is sampled from unless it is told otherwise."""
        ...


def makes_videos(prior: Prior) -> TypeGuard[VideoPrior]:
    """Whether a prior is a ``VideoPrior``."""
    return hasattr(prior, "decode")


def motions_named(prior: Prior, prompt: str) -> list[str]:
    """The motions, of those that the model was taught, that a word of ``prompt`` names."""
    words = set(re.findall(r"[^\W\d_]+", prompt.lower()))
    return [motion for motion, forms in prior.motions.items() if words & set(forms)]


class MultiViewPrior(Prior, Protocol):
    """A frozen model of V videos of one moving thing, denoised together: its latents are [B, V, C, t, h, w]."""

    num_views: int

    def encode(self, frames: Tensor) -> Tensor:
        """Latents [1, V, C, t, h, w] of ``frames`` [V, T, H, W, 3] in [0, 1]; differentiable."""
        ...

    def decode_views(self, latents: Tensor) -> Tensor:
        """Frames [V, T, H, W, 3] in [0, 1] of ``latents`` [1, V, C, t, h, w]."""
        ...

    def cameras_around(self, asset: Gaussians, azimuth_deg: float) -> tuple[Camera, ...]:
        """The V cameras that the model knows, the first of them at ``azimuth_deg``."""
        ...

    def alone(self) -> MultiViewPrior:
        """The same model, which denoises a single video."""
        ...

    @property
    def sampling(self) -> SamplingDefaults:
        """How it is sampled from unless it is told otherwise."""
        ...


def sees_views(prior: Prior) -> TypeGuard[MultiViewPrior]:
    """Whether a prior is a ``MultiViewPrior``."""
    return hasattr(prior, "decode_views")


class SeesViews:
    """The part that all priors of V views share: how they observe."""

    def alone(self: MultiViewPrior) -> MultiViewPrior:
        """See ``MultiViewPrior.alone``; what is loaded already is shared."""
        made = copy(self)
        made.num_views = 1
        return made

    @property
    def sampling(self) -> SamplingDefaults:
        """Thirty even steps without guidance."""
        return SamplingDefaults(steps=30)

    def observe(
        self: MultiViewPrior,
        frames: Frames,
        viewpoint: Viewpoint,
        wanted: Sequence[Wanted] = ("latents",),
        *,
        blur: float = 0.0,
    ) -> Observation:
        """See ``Prior.observe``; it predicts no pixel flow."""
        if "latents" not in wanted:
            return Observation()
        images = torch.stack([pictures(frames, one) for one in viewpoint.each()])
        smooth = smooth_gradient(images.flatten(0, 1), blur * images.shape[2])
        return Observation(self.encode(smooth.unflatten(0, images.shape[:2])))

    @torch.no_grad()
    def still_latents(self: MultiViewPrior, asset: Gaussians, viewpoint: Viewpoint) -> Tensor:
        """See ``Prior.still_latents``."""
        frames = torch.stack([still(asset, one) for one in viewpoint.each()])
        return self.encode(frames.expand(-1, self.clip.num_frames, -1, -1, -1))

    def noise(self, like: Tensor, condition: Condition, generator: torch.Generator) -> Tensor:
        """See ``Prior.noise``."""
        return torch.randn(like.shape, generator=generator).to(like)

    def frame_times(self: MultiViewPrior, viewpoint: Viewpoint) -> Tensor:
        """See ``Prior.frame_times``."""
        return frame_times(self.clip.num_frames, viewpoint.background.device)


class PixelFlowPrior(VideoPrior, Protocol):
    """A video model that also predicts where the pixels of the picture go."""

    def predict_pixel_flow(
        self,
        latents: Tensor,  # [B, C, T, h, w] noisy
        timestep: int,
        condition: Condition,  # of B prompts
    ) -> Tensor:  # [B, 2, T, H, W] from where they are in the picture, as (x, y) in pixels
        ...


def predicts_pixel_flow(prior: Prior) -> TypeGuard[PixelFlowPrior]:
    """Whether a prior is a ``PixelFlowPrior``."""
    return hasattr(prior, "predict_pixel_flow")


class FlowMapPrior(VideoPrior, Protocol):
    """A video model that predicts for a whole step: it is told where the step ends as well as where it starts."""

    def predict_towards(
        self,
        latents: Tensor,  # [B, C, T, h, w] noisy
        timestep: int,
        following: int,  # the timestep that the step goes to; -1 is clean
        condition: Condition,  # of B prompts
    ) -> Tensor:  # [B, C, T, h, w] the mean over the step, in the kind of ``parameterization``
        ...


def is_flow_map(prior: object) -> TypeGuard[FlowMapPrior]:
    """Whether a prior is a ``FlowMapPrior``."""
    return hasattr(prior, "predict_towards")


class SeesVideo:
    """The part that all priors of videos share: how they observe."""

    @property
    def sampling(self) -> SamplingDefaults:
        """Thirty even steps without guidance."""
        return SamplingDefaults(steps=30)

    def observe(
        self: VideoPrior,
        frames: Frames,
        viewpoint: Viewpoint,
        wanted: Sequence[Wanted] = ("latents",),
        *,
        blur: float = 0.0,
    ) -> Observation:
        """See ``VideoPrior.observe``."""
        latents = moves = alpha = None
        if "latents" in wanted:
            images = pictures(frames, viewpoint)
            latents = self.encode(smooth_gradient(images, blur * images.shape[1]))
        if "pixel_flow" in wanted:
            moves, alpha = render_flow(frames.asset, viewpoint.camera, viewpoint.rasterizer, frames.means)
        return Observation(latents, moves, alpha)

    @torch.no_grad()
    def still_latents(self: VideoPrior, asset: Gaussians, viewpoint: Viewpoint) -> Tensor:
        """See ``VideoPrior.still_latents``."""
        return self.encode_still(still(asset, viewpoint))

    def noise(self, like: Tensor, condition: Condition, generator: torch.Generator) -> Tensor:
        """See ``VideoPrior.noise``."""
        return torch.randn(like.shape, generator=generator).to(like)

    def frame_times(self: VideoPrior, viewpoint: Viewpoint) -> Tensor:
        """See ``VideoPrior.frame_times``."""
        return frame_times(self.clip.num_frames, viewpoint.background.device)

    @torch.no_grad()
    def condition(self: VideoPrior, text: Text, asset: Gaussians, viewpoint: Viewpoint) -> Condition:
        """See ``VideoPrior.condition``."""
        return Condition(text, self.encode_picture(still(asset, viewpoint)))


def pictures(frames: Frames, viewpoint: Viewpoint) -> Tensor:
    """What is seen of ``frames`` from a viewpoint, [T, H, W, 3]; differentiable."""
    camera, background = viewpoint.camera, viewpoint.background
    if background.dim() == 3:
        background = background.expand(frames.num_frames, -1, -1, -1)
    if viewpoint.ground_height is not None:
        frames = above_ground(frames, viewpoint.ground_height)
    return render(frames, [camera] * frames.num_frames, viewpoint.rasterizer, background=background).rgb


@torch.no_grad()
def still(asset: Gaussians, viewpoint: Viewpoint) -> Tensor:
    """The asset at rest, [1, H, W, 3]."""
    return pictures(Frames.at_rest(asset), viewpoint)
