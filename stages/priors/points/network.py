"""The network of the points prior: a transformer over the points of a body at rest and their noisy trajectories.

Each point is a token: Fourier features of where it is at rest, and the noisy coefficients of its trajectory. The
motion's word, the manner in which it is made, whether it repeats, and the noise level modulate every block
(adaLN-single, PixArt-alpha). Points have no order, so there is no embedding of position but where they are.

A manner is how one family of bodies makes a motion: as the dogs walk, as the knights do. It may be left open; the
network also says which manner suits the body that it sees.

Attention is diffusers' ``Attention`` with its plain processor: on CPUs its backward pass is several times faster than
fused attention, and ``to_q``, ``to_k``, ``to_v`` and ``to_out.0`` are the names LoRA adapters look for.
"""

from __future__ import annotations

import math

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.attention_processor import Attention, AttnProcessor
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from stages.geometry.trajectories import NUM_FUNCTIONS


class _Block(nn.Module):
    """Attention among points, then a feed-forward network; both modulated and gated."""

    def __init__(self, width: int, head_dim: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(6, width) / width**0.5)
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.attention = Attention(
            query_dim=width, heads=width // head_dim, dim_head=head_dim, processor=AttnProcessor()
        )
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, shared: Tensor) -> Tensor:
        """``x`` [B, N, D], ``shared`` [B, 6, D]."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.table + shared)[:, :, None].unbind(dim=1)
        x = x + gate1 * self.attention(self.norm1(x) * (1.0 + scale1) + shift1)
        return x + gate2 * self.feed(self.norm2(x) * (1.0 + scale2) + shift2)


class AnimusPointsModel(ModelMixin, ConfigMixin):
    """Predicts clean trajectories.

    Args:
        verbs: the words it knows, in the order of their numbers; one more number means "no word".
        manners: of motions, in the order of their numbers; one more number leaves it open.
        width, num_layers, head_dim: sizes.
        num_octaves: of the Fourier features of a position.
    """

    @register_to_config
    def __init__(
        self,
        verbs: tuple[str, ...] = ("walk",),
        manners: tuple[str, ...] = ("walk",),
        width: int = 192,
        num_layers: int = 6,
        head_dim: int = 32,
        num_octaves: int = 6,
    ) -> None:
        super().__init__()
        channels = 3 * NUM_FUNCTIONS
        self.words = nn.Embedding(len(verbs) + 1, width)
        self.ways = nn.Embedding(len(manners) + 1, width)
        self.repeats = nn.Embedding(2, width)
        self.time = Timesteps(128, flip_sin_to_cos=True, downscale_freq_shift=0.0)
        self.embed_time = TimestepEmbedding(128, width)
        self.condition = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.place = nn.Linear(3 + 6 * num_octaves, width)
        self.enter = nn.Linear(channels, width)
        self.blocks = nn.ModuleList(_Block(width, head_dim) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.leave = nn.Linear(width, channels)
        self.suits = nn.Linear(width, len(manners))
        nn.init.zeros_(self.ways.weight)
        nn.init.normal_(self.words.weight, std=0.5)
        nn.init.normal_(self.repeats.weight, std=0.5)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(
        self,
        noisy: Tensor,  # [B, 3 K, N] coefficients, of variance about 1
        level: Tensor,  # [B] noise level in [0, 1]
        rest: Tensor,  # [B, N, 3] in [-1, 1]
        verb: Tensor,  # [B] number of the word
        manner: Tensor,  # [B] number of the manner
        cyclic: Tensor,  # [B] 0 or 1
    ) -> tuple[Tensor, Tensor]:  # [B, 3 K, N] the clean coefficients, [B, manners] logits
        """The clean trajectories that ``noisy`` ones were, as far as the network can tell, and which manners suit."""
        octaves = 2.0 ** torch.arange(self.config.num_octaves, device=rest.device) * (0.5 * math.pi)
        angles = (rest[..., None] * octaves).flatten(-2)  # [B, N, 3 O]
        place = torch.cat([rest, angles.sin(), angles.cos()], dim=-1)
        told = self.words(verb) + self.ways(manner) + self.repeats(cyclic)
        shared = self.condition(told + self.embed_time(self.time(1000.0 * level).to(rest.dtype))).unflatten(-1, (6, -1))
        x = self.place(place) + self.enter(noisy.transpose(1, 2))
        for block in self.blocks:
            x = block(x, shared)
        x = self.norm(x)
        return self.leave(x).transpose(1, 2), self.suits(x.mean(dim=1))
