"""The network of the points prior: a transformer over the points of a body at rest and their noisy trajectories.

Each point is a token: Fourier features of where it is at rest, and the noisy coefficients of its trajectory. The
motion's word, the manner in which it is made, whether it repeats, and the noise level modulate every block
(adaLN-single, PixArt-alpha). Points have no order, so there is no embedding of position but where they are.

A manner is how one family of bodies makes a motion: as the dogs walk, as the knights do. It may be left open; the
network also says which manner suits the body that it sees.

Nothing here but torch: the default prior starts without diffusers, whose import takes longer than a sample. The names
of the attention's layers are those of diffusers all the same, ``to_q``, ``to_k``, ``to_v`` and ``to_out.0``, which LoRA
adapters look for; so is the form of the folder, a ``config.json`` beside ``diffusion_pytorch_model.safetensors``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from stages.files import check_kinds, write_tensors
from stages.geometry.trajectories import NUM_FUNCTIONS
from stages.priors.sizes import check_sizes

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
"""Files of a network's folder."""
TIME_CHANNELS, LONGEST_WAVE = 128, 10_000.0
"""Of the noise level's features: half of them cosines, half sines."""


class _Attention(nn.Module):
    """Attention among points. Where there will be a backward pass it is written out, which on CPUs is several times
    faster there than the fused kernel; where there is none, the kernel takes half the time, for the same numbers to
    4e-6."""

    def __init__(self, width: int, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(width, width, bias=False)
        self.to_v = nn.Linear(width, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [B, N, D] -> [B, N, D]."""
        query, key, value = self._heads(self.to_q(x)), self._heads(self.to_k(x)), self._heads(self.to_v(x))
        attend = _written_out if torch.is_grad_enabled() else nn.functional.scaled_dot_product_attention
        return self.to_out[0](attend(query, key, value).transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        """[B, N, D] -> [B, H, N, d]."""
        return x.unflatten(2, (-1, self.head_dim)).transpose(1, 2)


def _written_out(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of [B, H, N, d]."""
    batch, size = query.shape[:2], query.shape[-1]
    query, key, value = (tensor.flatten(0, 1) for tensor in (query, key, value))
    nothing = torch.empty(len(query), query.shape[1], key.shape[1], dtype=query.dtype, device=query.device)
    scores = torch.baddbmm(nothing, query, key.transpose(1, 2), beta=0, alpha=size**-0.5)
    return torch.bmm(scores.softmax(dim=-1).to(query.dtype), value).unflatten(0, batch)


class _TimeEmbedding(nn.Module):
    """Two layers over the features of a noise level."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(TIME_CHANNELS, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, features: Tensor) -> Tensor:
        """[B, 128] -> [B, D]."""
        return self.linear_2(nn.functional.silu(self.linear_1(features)))


def time_features(timestep: Tensor) -> Tensor:
    """Cosines and sines [B, 128] of ``timestep`` [B], of 64 frequencies (Vaswani et al. 2017)."""
    half = TIME_CHANNELS // 2
    octaves = -math.log(LONGEST_WAVE) * torch.arange(half, dtype=torch.float32, device=timestep.device) / half
    angles = timestep[:, None].float() * octaves.exp()
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class _Block(nn.Module):
    """Attention among points, then a feed-forward network; both modulated and gated."""

    def __init__(self, width: int, head_dim: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(6, width) / width**0.5)
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.attention = _Attention(width, head_dim)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, shared: Tensor) -> Tensor:
        """``x`` [B, N, D], ``shared`` [B, 6, D]."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.table + shared)[:, :, None].unbind(dim=1)
        x = x + gate1 * self.attention(self.norm1(x) * (1.0 + scale1) + shift1)
        return x + gate2 * self.feed(self.norm2(x) * (1.0 + scale2) + shift2)


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Sizes, and what the numbers mean."""

    verbs: Sequence[str] = ("walk",)  # in the order of their numbers; one more number means "no word"
    manners: Sequence[str] = ("walk",)  # likewise; one more number leaves it open
    width: int = 192
    num_layers: int = 6
    head_dim: int = 32
    num_octaves: int = 6  # of the Fourier features of a position


class AnimusPointsModel(nn.Module):
    """Predicts clean trajectories."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config, width = config, config.width
        channels = 3 * NUM_FUNCTIONS
        self.words = nn.Embedding(len(config.verbs) + 1, width)
        self.ways = nn.Embedding(len(config.manners) + 1, width)
        self.repeats = nn.Embedding(2, width)
        self.embed_time = _TimeEmbedding(width)
        self.condition = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.place = nn.Linear(3 + 6 * config.num_octaves, width)
        self.enter = nn.Linear(channels, width)
        self.blocks = nn.ModuleList(_Block(width, config.head_dim) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.leave = nn.Linear(width, channels)
        self.suits = nn.Linear(width, len(config.manners))
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
        time = self.embed_time(time_features(1000.0 * level).to(rest.dtype))
        shared = self.condition(told + time).unflatten(-1, (6, -1))
        x = self.place(place) + self.enter(noisy.transpose(1, 2))
        for block in self.blocks:
            x = block(x, shared)
        x = self.norm(x)
        return self.leave(x).transpose(1, 2), self.suits(x.mean(dim=1))

    def save(self, folder: Path) -> None:
        """Write ``folder``, which ``load`` reads."""
        folder.mkdir(parents=True, exist_ok=True)
        config = {"_class_name": type(self).__name__} | asdict(self.config)
        (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        write_tensors(folder / WEIGHTS, self.state_dict(), {"format": "pt"})

    @staticmethod
    def load(folder: Path) -> AnimusPointsModel:
        """The network in ``folder``, in the precision in which it was saved. Raises whatever json and safetensors raise
        of damaged files, ``check_sizes`` of what cannot be, and torch of weights that are missing or of other shapes.
        """
        check_sizes(folder)
        check_kinds(folder)
        told = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config = NetworkConfig(**{name: value for name, value in told.items() if not name.startswith("_")})
        weights = load_file(folder / WEIGHTS)
        width = next((values.shape[-1] for name, values in weights.items() if name == "words.weight"), None)
        if config.width != width:
            raise ValueError(f"{CONFIG} has width {config.width}, and its weights {width}")
        largest = max(max(values.shape, default=0) for values in weights.values())
        if config.num_octaves > largest:  # before a layer of that size asks for memory
            raise ValueError(f"{CONFIG} has num_octaves {config.num_octaves}, more than its weights hold")
        with torch.random.fork_rng(devices=[]):  # what is drawn here the weights replace
            network = AnimusPointsModel(config)
        network.load_state_dict(weights, assign=True)
        return network.eval()
