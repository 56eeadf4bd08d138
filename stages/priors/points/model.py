"""The model behind the points prior: what it is told, what it predicts, how it samples.

Latents are coefficients of trajectories, ``[B, 3 K, N]``: the K functions of a ``Basis`` times x, y, z, for N points,
in the frame that the body faces +z in, in half sides of its box, over ``scales``. The model is a rectified flow whose
noise is ``body_noise``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from stages.geometry.trajectories import NUM_FUNCTIONS
from stages.priors.parameterization import Parameterization
from stages.priors.points.network import AnimusPointsModel
from stages.priors.points.noise import body_noise

CHANNELS = 3 * NUM_FUNCTIONS

SAMPLE_STEPS, SHIFT = 8, 3.0
"""Of the rectified flow, and how far its noise levels are shifted upwards (Esser et al. 2024, Eq. 23). On samples of
training bodies twelve even steps are no better (``docs/points.md``). [ours]"""


@dataclass(frozen=True)
class Verb:
    """A motion that the prior knows."""

    name: str
    cyclic: bool
    seconds: float  # as long as the clips it was learnt from


@dataclass(frozen=True)
class Manner:
    """How one family of bodies makes a motion."""

    name: str  # FAMILY/CLIP
    verb: str


@dataclass(frozen=True)
class Told:
    """What the network is told of B bodies: where their points are, and which motion they make."""

    rest: Tensor  # [B, N, 3]
    verb: Tensor  # [B] numbers of verbs; the number of verbs where none is said
    manner: Tensor  # [B] numbers of manners; the number of manners where it is left open
    cyclic: Tensor  # [B]

    def repeat(self, count: int) -> Told:
        """Each body ``count`` times."""
        return Told(*(part.repeat_interleave(count, dim=0) for part in self._parts()))

    def select(self, chosen: Tensor) -> Told:
        """The bodies numbered or marked ``chosen``."""
        return Told(*(part[chosen] for part in self._parts()))

    def _parts(self) -> tuple[Tensor, ...]:
        return self.rest, self.verb, self.manner, self.cyclic


class PointsModel:
    """The network with its scales.

    Args:
        network: predicts clean latents.
        verbs, manners: in the order of the network's numbers.
        scales: [2, K] the usual size of each coefficient, of motions that run through once and of loops.
        unfamiliar: see ``PointsModel.doubt``; of a body that the network was not taught it is larger.
        amplitude: how far true motions go, over how far samples do, which fall short as all averages do.
    """

    def __init__(
        self,
        network: AnimusPointsModel,
        verbs: Sequence[Verb],
        manners: Sequence[Manner],
        scales: Tensor,
        unfamiliar: float = math.inf,
        amplitude: float = 1.0,
    ) -> None:
        self.network, self.verbs, self.manners, self.scales = network, tuple(verbs), tuple(manners), scales
        self.unfamiliar, self.amplitude = unfamiliar, amplitude
        self.parameterization = Parameterization.rectified_flow(1000)

    def latents(self, coefficients: Tensor, cyclic: Tensor) -> Tensor:
        """Latents [B, 3 K, N] of ``coefficients`` [B, N, K, 3]; ``cyclic`` [B]."""
        scaled = coefficients / self.scales.to(coefficients)[cyclic][:, None, :, None]
        return scaled.flatten(-2).transpose(1, 2)

    def coefficients(self, latents: Tensor, cyclic: Tensor) -> Tensor:
        """The inverse of ``latents``."""
        scaled = latents.transpose(1, 2).unflatten(-1, (NUM_FUNCTIONS, 3))
        return scaled * self.scales.to(latents)[cyclic][:, None, :, None]

    def clean(self, x_t: Tensor, level: Tensor, told: Told) -> Tensor:
        """The clean estimate [B, 3 K, N] of ``x_t`` at noise ``level`` [B]."""
        return self.told_apart(x_t, level, told)[0]

    def told_apart(self, x_t: Tensor, level: Tensor, told: Told) -> tuple[Tensor, Tensor]:
        """The clean estimate, and logits [B, manners] of which manner suits each body."""
        with _precision(x_t.device):
            clean, suits = self.network(x_t, level, told.rest, told.verb, told.manner, told.cyclic)
        return clean.float(), suits.float()

    @torch.no_grad()
    def doubt(self, told: Told, generator: torch.Generator) -> Tensor:
        """How little is known of how each body [B] moves: the entropy of which manner suits it, in nats."""
        noise = body_noise(told.rest, CHANNELS, generator)
        shares = self.told_apart(noise, torch.ones(len(noise)).to(noise), told)[1].softmax(dim=1)
        return -(shares * shares.clamp(min=1e-9).log()).sum(dim=1)

    def guided(self, x_t: Tensor, level: float, told: Told, guidance: float) -> Tensor:
        """The clean estimate, guided away from that without a word where ``guidance`` is not 1."""
        levels = torch.full((len(x_t),), level).to(x_t)
        if guidance == 1.0:
            return self.clean(x_t, levels, told)
        wordless = torch.full_like(told.verb, len(self.verbs))
        open_manner = torch.full_like(told.manner, len(self.manners))
        both = Told(
            told.rest.repeat(2, 1, 1),
            torch.cat([told.verb, wordless]),
            torch.cat([told.manner, open_manner]),
            told.cyclic.repeat(2),
        )
        with_word, without = self.clean(x_t.repeat(2, 1, 1), levels.repeat(2), both).chunk(2)
        return without + guidance * (with_word - without)

    @torch.no_grad()
    def sample(
        self,
        told: Told,
        generator: torch.Generator,
        *,
        steps: int = SAMPLE_STEPS,
        guidance: float = 1.0,
        start: float = 1.0,
        begin: Tensor | None = None,
    ) -> Tensor:
        """Clean latents [B, 3 K, N]: Euler steps of the rectified flow from noise, or from ``begin`` noised to the
        level ``start`` (SDEdit)."""
        x = body_noise(told.rest, CHANNELS, generator)
        if begin is not None:
            x = (1.0 - start) * begin + start * x
        even = torch.linspace(1.0, 0.0, steps + 1)
        levels = (start * SHIFT * even / (1.0 + (SHIFT - 1.0) * even)).tolist()
        for now, after in pairwise(levels):
            clean = self.guided(x, now, told, guidance)
            x = clean + (after / now) * (x - clean)
        return x


def _precision(device: torch.device) -> Any:
    """bfloat16 autocast on a card and where a CPU has matrix tiles (AMX); with AVX-512 alone it is slower than float32
    (measured: a training step 2.2 s to 1.9 s)."""
    tiles = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    if device.type == "cuda" or tiles():
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
