"""A prior whose score is known: the posterior mean over a finite bank of clips.

For clips ``z_i`` of a prompt, each equally likely, and ``x_t = alpha z + sigma n``,

    E[x_0 | x_t] = sum_i softmax_i(-|x_t - alpha z_i|^2 / (2 sigma^2)) z_i

is exact, so an objective that fails with it fails by itself and not by its model. Nothing is trained, and the right
answer (the nearest clip of the bank) can be looked up. The null prompt is the mixture of all prompts' clips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.errors import BadInput
from stages.priors.parameterization import Parameterization
from stages.priors.prior import ClipShape, Condition, SeesVideo, Text


class ExactPrior(SeesVideo):
    """The true score of a bank of clips, in the pixels themselves (the encoder is an affine map to [-1, 1]) or in
    their means over squares of ``latent_px``: the fewer the numbers that speak of a clip, the longer its noisy copy
    leaves open which clip it is, as a large model's does.

    A condition's ``picture``, when given, keeps only the clips of the bank whose own static picture is nearest: the
    clips seen from that camera.
    """

    name = "exact"
    denoiser: nn.Module | None = None

    def __init__(
        self,
        clips: Mapping[str, Tensor],  # prompt -> [M, T, H, W, 3] in [0, 1]
        parameterization: Parameterization,
        pictures: Mapping[str, Tensor] | None = None,  # prompt -> [M, H, W, 3] the static asset seen as in that clip
        latent_px: int = 1,  # divides H and W
    ) -> None:
        self.parameterization = parameterization
        self._latent_px = latent_px
        frames, height, width = next(iter(clips.values())).shape[1:4]
        self.clip = ClipShape(num_frames=frames, height=height, width=width)
        self.motions: dict[str, list[str]] = {}
        self._shape = (3, frames, height // latent_px, width // latent_px)
        self._bank = {prompt: self._latents(bank).transpose(1, 2).flatten(1) for prompt, bank in clips.items()}
        self._bank[""] = torch.cat(list(self._bank.values()))
        self._squares = {prompt: bank.square().sum(dim=1) for prompt, bank in self._bank.items()}
        self._pictures: dict[str, Tensor] = {}
        if pictures is not None:
            self._pictures = {prompt: self._latents(views).flatten(1) for prompt, views in pictures.items()}
            self._pictures[""] = torch.cat(list(self._pictures.values()))

    def _latents(self, images: Tensor) -> Tensor:
        """[..., H, W, 3] in [0, 1] to [..., 3, h, w] in [-1, 1]."""
        latents = (2.0 * images - 1.0).movedim(-1, -3)
        if self._latent_px == 1:
            return latents
        return F.avg_pool2d(latents.flatten(0, -4), self._latent_px).unflatten(0, latents.shape[:-3])

    def clips_of(self, prompt: str) -> Tensor:
        """Latents [M, C, T, h, w] of the bank's clips of ``prompt``, in the order given."""
        return self._bank[prompt].unflatten(1, self._shape)

    def encode(self, frames: Tensor) -> Tensor:
        """See ``VideoPrior.encode``."""
        return self._latents(frames).transpose(0, 1)[None]

    def encode_still(self, frame: Tensor) -> Tensor:
        """See ``VideoPrior.encode_still``."""
        return self.encode(frame.expand(self.clip.num_frames, -1, -1, -1))

    def encode_picture(self, frame: Tensor) -> Tensor:
        """See ``VideoPrior.encode_picture``."""
        return self.encode(frame)[:, :, 0]

    def decode(self, latents: Tensor) -> Tensor:
        """See ``VideoPrior.decode``."""
        pixels = F.interpolate(latents[0].transpose(0, 1), scale_factor=self._latent_px)
        return (0.5 * pixels.movedim(1, -1) + 0.5).clamp(0.0, 1.0)

    def encode_text(self, prompts: Sequence[str]) -> Text:
        """See ``VideoPrior.encode_text``; raises ``BadInput`` for a prompt that has no clips."""
        for prompt in prompts:
            if prompt not in self._bank:
                known = ", ".join(repr(name) for name in self._bank if name)
                raise BadInput(f"The exact prior has no clips for {prompt!r}; it knows {known}.")
        return Text(tuple(prompts))

    def posterior_weights(self, latents: Tensor, timestep: int, prompt: str, picture: Tensor | None = None) -> Tensor:
        """Probability [M] of each clip of the bank given one noisy latent [C, T, H, W]."""
        weights, kept = self._weigh(latents, timestep, prompt, picture)
        return weights if kept is None else weights.new_zeros(len(self._bank[prompt])).index_copy(0, kept, weights)

    def _weigh(
        self, latents: Tensor, timestep: int, prompt: str, picture: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Probability [K] of the clips that the picture leaves, and which they are; None: all."""
        bank, squares, kept = self._bank[prompt], self._squares[prompt], None
        if picture is not None and prompt in self._pictures:
            distances = (self._pictures[prompt] - picture.flatten()).square().sum(dim=1)
            kept = (distances <= distances.min() * (1.0 + 1e-3) + 1e-3).nonzero()[:, 0]
            bank, squares = _rows(bank, kept), squares[kept]
        x = latents.flatten()
        alpha, sigma = self.parameterization.alpha_sigma(timestep, x)
        logits = (alpha * (bank @ x) - 0.5 * alpha**2 * squares) / sigma.square().clamp(min=1e-8)
        return logits.softmax(dim=0), kept

    def predict(self, latents: Tensor, timestep: int, condition: Condition) -> Tensor:
        """See ``VideoPrior.predict``."""
        means, pictures = [], condition.picture
        for index, prompt in enumerate(condition.text.prompts):
            picture = None if pictures is None else pictures[index % pictures.shape[0]]
            weights, kept = self._weigh(latents[index], timestep, prompt, picture)
            bank = self._bank[prompt] if kept is None else _rows(self._bank[prompt], kept)
            means.append((weights @ bank).reshape(self._shape))
        return self.parameterization.from_x0(torch.stack(means), latents, timestep)


def _rows(bank: Tensor, kept: Tensor) -> Tensor:
    """Rows ``kept`` of ``bank``; where they are beside each other, without a copy."""
    first, last = int(kept[0]), int(kept[-1])
    return bank[first : last + 1] if last - first + 1 == len(kept) else bank[kept]
