"""Several views of one motion with a known score: the exact prior (``stages.priors.exact``) for V cameras at once.

The bank holds motions in space, not pictures: where every Gaussian of the asset goes in each clip, at several phases.
Whatever V cameras a viewpoint has, the bank is filmed by them, and the posterior weighs whole sets of V videos,

    E[x_0 | x_t] = sum_i softmax_i(-sum_v |x_t^v - alpha z_i^v|^2 / (2 sigma^2)) z_i

so that all views are of one clip at one phase. It is for tests and benchmarks: it can only say what its file holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.cameras import Camera, fitting_radius, orbit_camera
from stages.errors import BadInput
from stages.gaussians import Frames, Gaussians
from stages.priors.parameterization import Parameterization
from stages.priors.prior import ClipShape, Condition, SeesViews, Text, Viewpoint, pictures
from stages.priors.sampling import SamplingDefaults

STATIC = "static"
"""The clip in which nothing moves; every bank has it."""
ELEVATION_DEG, FOV_DEG, FILL = 15.0, 35.0, 0.8


class ExactViewsPrior(SeesViews):
    """A ``MultiViewPrior``.

    Args:
        asset: at rest.
        bank: name of a clip -> [P, T, N, 3] where its Gaussians are, at P phases.
        parameterization: the schedule.
        size_px: of the pictures.
        num_views: V.
        latent_px: latents are means over squares of so many pixels; it divides ``size_px``.
    """

    name = "exact-views"
    denoiser: nn.Module | None = None
    sampling = SamplingDefaults(steps=25)

    def __init__(
        self,
        asset: Gaussians,
        bank: Mapping[str, Tensor],
        parameterization: Parameterization,
        *,
        size_px: int = 64,
        num_views: int = 4,
        latent_px: int = 1,
    ) -> None:
        self.asset, self.parameterization, self.num_views, self._latent_px = (
            asset,
            parameterization,
            num_views,
            latent_px,
        )
        self.clip = ClipShape(next(iter(bank.values())).shape[1], size_px, size_px)
        still = asset.means.expand(1, self.clip.num_frames, -1, -1)
        self._moves = {**bank, STATIC: still}
        self.motions: Mapping[str, Sequence[str]] = {name: [name.lower()] for name in bank}
        self._filmed: list[dict[str, Tensor]] = []  # of each viewpoint, the clips that were asked for
        self._squares: dict[tuple[int, str], Tensor] = {}  # of each of these, the square of its length [P]
        self._seen: list[Viewpoint] = []
        self._keys: list[Tensor] = []

    def clip_of(self, prompt: str) -> str:
        """The clip that ``prompt`` names: its name is the beginning of a word, as in "walking", or a word of it.

        Raises:
            BadInput: there is none.
        """
        words = re.findall(r"[^\W\d_]+", prompt.lower())
        for name in self._moves:
            if prompt == name or any(word.startswith(name.lower()) for word in words):
                return name
        for name in self._moves:  # "gallops" for a clip called "Gallop_Jump"
            if any(word.startswith(part) for word in words for part in re.findall(r"[^\W\d_]{3,}", name.lower())):
                return name
        raise BadInput(f"The bank has no clip for {prompt!r}.", f"It has: {', '.join(self._moves)}.")

    def encode_text(self, prompts: Sequence[str]) -> Text:
        """See ``Prior.encode_text``: the null prompt is all clips that move. Raises ``BadInput``: no clip is named."""
        for prompt in prompts:
            if prompt.strip():
                self.clip_of(prompt)
        return Text(tuple(prompts))

    def encode(self, frames: Tensor) -> Tensor:
        """See ``MultiViewPrior.encode``."""
        latents = (2.0 * frames - 1.0).movedim(-1, -3)  # [V, T, 3, H, W]
        if self._latent_px > 1:
            latents = F.avg_pool2d(latents.flatten(0, 1), self._latent_px).unflatten(0, latents.shape[:2])
        return latents.transpose(1, 2)[None]

    def decode_views(self, latents: Tensor) -> Tensor:
        """See ``MultiViewPrior.decode_views``."""
        images = latents[0].transpose(1, 2)  # [V, T, 3, h, w]
        pixels = F.interpolate(images.flatten(0, 1), scale_factor=self._latent_px).unflatten(0, images.shape[:2])
        return (0.5 * pixels.movedim(2, -1) + 0.5).clamp(0.0, 1.0)

    def cameras_around(self, asset: Gaussians, azimuth_deg: float) -> tuple[Camera, ...]:
        """See ``MultiViewPrior.cameras_around``: evenly around, all at one height."""
        low, high = (corner.cpu() for corner in asset.bounds())
        return tuple(
            orbit_camera(
                azimuth_deg=azimuth_deg + 360.0 * view / self.num_views,
                elevation_deg=ELEVATION_DEG,
                radius=fitting_radius(low, high, FOV_DEG, FILL),
                fov_deg=FOV_DEG,
                width=self.clip.width,
                height=self.clip.height,
                target=0.5 * (low + high),
            ).to(asset.means.device)
            for view in range(self.num_views)
        )

    @torch.no_grad()
    def condition(self, text: Text, asset: Gaussians, viewpoint: Viewpoint) -> Condition:
        """See ``Prior.condition``: what stands for the picture is the number of the viewpoint, whose films of the bank
        are made when they are first asked for."""
        key = torch.cat([torch.cat([one.viewmat.flatten(), one.K.flatten()]) for one in viewpoint.cameras])
        known = [index for index, other in enumerate(self._keys) if torch.equal(other, key)]
        if not known:
            self._keys.append(key)
            self._seen.append(viewpoint)
            self._filmed.append({})
        return Condition(text, torch.tensor([[float(known[0] if known else len(self._keys) - 1)]]))

    @torch.no_grad()
    def films(self, number: int, name: str) -> Tensor:
        """Latents [P, V, C, T, h, w] of a clip at its P phases, from a viewpoint."""
        if name not in self._filmed[number]:
            filmed = []
            for means in self._moves[name]:
                frames, views = Frames(self.asset, means), self._seen[number].each()
                filmed.append(self.encode(torch.stack([pictures(frames, one) for one in views])))
            self._filmed[number][name] = torch.cat(filmed)
        return self._filmed[number][name]

    def predict(self, latents: Tensor, timestep: int, condition: Condition) -> Tensor:
        """See ``Prior.predict``."""
        assert condition.picture is not None
        number, means = int(condition.picture[0, 0]), []
        for noisy, prompt in zip(latents, condition.text.prompts, strict=True):
            named = [self.clip_of(prompt)] if prompt.strip() else [name for name in self._moves if name != STATIC]
            weights = self.posterior_weights(noisy, timestep, number, named)
            parts = [w @ self.films(number, name).flatten(1) for w, name in zip(weights, named, strict=True)]
            means.append(torch.stack(parts).sum(dim=0).view_as(noisy))
        return self.parameterization.from_x0(torch.stack(means), latents, timestep)

    def posterior_weights(self, noisy: Tensor, timestep: int, number: int, names: Sequence[str]) -> list[Tensor]:
        """Probability [P] of each phase of each of the clips ``names``, seen from viewpoint ``number``, given ``noisy``
        [V, C, T, h, w]; they sum to 1 over all clips."""
        x, logits = noisy.flatten(), []
        alpha, sigma = self.parameterization.alpha_sigma(timestep, x)
        for name in names:
            bank = self.films(number, name).flatten(1)
            if (number, name) not in self._squares:
                self._squares[number, name] = bank.square().sum(dim=1)
            logits.append(alpha * (bank @ x) - 0.5 * alpha**2 * self._squares[number, name])
        weights = (torch.cat(logits) / sigma.square().clamp(min=1e-8)).softmax(dim=0)
        return list(weights.split([len(logit) for logit in logits]))
