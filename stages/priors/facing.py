"""Where a body faces, found from points of its surface: fish, horses and robots have a front, vases have none.

::

    assets/facing/facing.json           sizes of the networks, temperature of their probabilities, what was measured
    assets/facing/weights.safetensors   in half precision

The network says of 24 directions how well each fits a front. By its make, turning the body by the angle between two of
them turns the answer exactly. The answer is averaged over a few networks, each trained from another beginning, over
draws of points, and over mirror images.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from stages.assets import asset_path
from stages.errors import BadInput, first_line
from stages.files import replacing, write_json, write_tensors
from stages.gaussians import Gaussians
from stages.gaussians.facing import Facing, wrapped
from stages.gaussians.spread import OPAQUE, spread_points

FOLDER, ABOUT, WEIGHTS = "facing", "facing.json", "weights.safetensors"
NUM_POINTS = 256
NUM_DIRECTIONS = 24
STEP_DEG = 360.0 / NUM_DIRECTIONS
NUM_HARMONICS = 5
"""Of the azimuth, beside the constant. [ours]"""

AXIS = 0.08
"""Points nearer to the axis than this, in units of the body's size, say little by their azimuth. [ours]"""

RADII = (0.12, 0.35)
"""Of the neighbourhoods whose middles a point is told, in units of the body's size. [ours]"""

NEAR_DEG = 30.0
"""What counts as found right, and what ``Facing.confidence`` is the probability of."""

SNAP_DEG = 12.0
"""Files stand along their axes: an answer this near to one is that axis. [ours]"""

DRAWS = 4
"""Of points, over which the answer is averaged. [ours]"""

FRONT_AT_LEAST = 0.25
"""Of the probability; with less a body has no front: to be asked costs less than to be told nothing. [ours]"""


class FacingNetwork(nn.Module):
    """Logits of ``NUM_DIRECTIONS`` directions, and of having no front.

    A point is told where it is around the y axis in coordinates that do not change when the body is turned, and
    gives harmonics of its azimuth; their sums are functions on the circle, whose values at the directions are mixed
    by what is alike for all of them (a group convolution, Cohen and Welling 2016). So a body that is turned by the
    angle between two directions gives the same logits, shifted.

    Args:
        width: channels of a point and of a direction's first signal.
        signals: functions on the circle that points give.
        shifts: how many directions apart those are that one hears of.
    """

    def __init__(self, width: int = 64, signals: int = 32, shifts: tuple[int, ...] = (0, 1, 6, 12, 18, 23)) -> None:
        super().__init__()
        self.width, self.signals, self.shifts = width, signals, tuple(shifts)
        wide = 2 * width
        self.enter = nn.Linear(NUM_FEATURES, width)
        self.first = nn.Linear(width, width)
        self.give = nn.ParameterList(
            nn.Parameter(torch.randn(NUM_HARMONICS + 1, 2 * width, signals) / (2.0 * width) ** 0.5) for _ in range(2)
        )
        self.gather = nn.Linear(signals, width)
        self.told = nn.Linear(2 * width, width)
        self.second = nn.Linear(width, width)
        self.join = nn.Linear(signals + width, wide)
        self.norms = nn.ModuleList(nn.LayerNorm(size) for size in (width, wide))
        self.mixes = nn.ModuleList(nn.Linear(len(self.shifts) * size, size) for size in (width, wide))
        self.leave = nn.Linear(wide, 1)
        self.none = nn.Linear(wide, 1)

    def forward(self, points: Tensor) -> Tensor:
        """Logits [B, NUM_DIRECTIONS + 1] of ``points`` [B, N, 3] as ``centred`` gives them; the last is "no front"."""
        seen, azimuth, reach = features(points)
        x = self.first(self.enter(seen).relu()).relu()
        circle = self._mixed(self.gather(self._on_circle(x, azimuth, reach, 0)).relu(), 0)
        told = self.told(torch.cat([circle, circle.roll(NUM_DIRECTIONS // 2, dims=1)], dim=2))
        x = x + (self.second(x) + between(azimuth) @ told).relu()
        circle = self.join(torch.cat([self._on_circle(x, azimuth, reach, 1), circle], dim=2)).relu()
        circle = self._mixed(circle, 1)
        return torch.cat([self.leave(circle)[..., 0], self.none(circle.mean(dim=1))], dim=1)

    def _on_circle(self, x: Tensor, azimuth: Tensor, reach: Tensor, turn: int) -> Tensor:
        """The functions [B, NUM_DIRECTIONS, signals] that points [B, N, W] give."""
        order = torch.arange(NUM_HARMONICS + 1)
        phase = azimuth[..., None] * order
        scale = torch.where(order > 0, reach[..., None], torch.ones(())) / x.shape[1]
        real, imaginary = (scale * phase.cos()).mT @ x, (scale * phase.sin()).mT @ x  # [B, M, W]
        one, other = self.give[turn].chunk(2, dim=1)  # [M, W, S]
        at = order * directions()[:, None]  # [D, M]
        cosine = torch.einsum("bmw,mws->bms", real, one) + torch.einsum("bmw,mws->bms", imaginary, other)
        sine = torch.einsum("bmw,mws->bms", imaginary, one) - torch.einsum("bmw,mws->bms", real, other)
        return at.cos() @ cosine + at.sin() @ sine

    def _mixed(self, circle: Tensor, block: int) -> Tensor:
        """What each direction [B, D, C] makes of what others say."""
        said = self.norms[block](circle)
        around = torch.cat([said.roll(shift, dims=1) for shift in self.shifts], dim=2)
        return circle + self.mixes[block](around).relu()


NUM_FEATURES = 10 + 4 * len(RADII)


def features(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the network is told of ``points`` [B, N, 3]: what does not change when the body is turned, [B, N, C]; the
    azimuth [B, N], 0 at +z, 90 degrees at +x; and how far from the axis, in [0, 1), where it means something."""
    radius = points[..., [0, 2]].norm(dim=-1)
    azimuth = torch.atan2(points[..., 0], points[..., 2])
    outward = torch.stack([azimuth.sin(), torch.zeros_like(azimuth), azimuth.cos()], dim=-1)
    along = torch.stack([azimuth.cos(), torch.zeros_like(azimuth), -azimuth.sin()], dim=-1)
    away = torch.cdist(points, points).square()
    place = torch.stack([points[..., 1], radius], dim=-1)
    told = [place, *(wave(octave * math.pi * place) for octave in (1, 2) for wave in (torch.sin, torch.cos))]
    for size in RADII:
        weight = torch.exp(away / (-2.0 * size * size))
        total = weight.sum(dim=2, keepdim=True)
        middle = (weight @ points / total - points) / size
        told += [(middle * outward).sum(-1, True), (middle * along).sum(-1, True), middle[..., 1:2]]
        told.append(total / points.shape[1])
    return torch.cat(told, dim=-1), azimuth, radius / (radius + AXIS)


def directions() -> Tensor:
    """The directions [D] as azimuths in radians, from +z to +x and on."""
    return torch.arange(NUM_DIRECTIONS) * (2.0 * math.pi / NUM_DIRECTIONS)


def between(azimuth: Tensor) -> Tensor:
    """Weights [B, N, D] that read functions on the circle at ``azimuth`` [B, N]."""
    steps = (azimuth[..., None] - directions()) / (2.0 * math.pi) * NUM_DIRECTIONS
    steps = (steps + 0.5 * NUM_DIRECTIONS) % NUM_DIRECTIONS - 0.5 * NUM_DIRECTIONS
    return (1.0 - steps.abs()).clamp(min=0.0)


def turn_about_y(degrees: float) -> Tensor:
    """The matrix [3, 3] that turns +z to ``degrees`` (90: to +x)."""
    angle = math.radians(degrees)
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def centred(points: Tensor) -> Tensor:
    """``points`` [B, N, 3] about their mean, in height about the middle, the farthest at distance 1; turning them about
    y turns the answer."""
    low, high = points[..., 1].amin(dim=1), points[..., 1].amax(dim=1)
    middle = points.mean(dim=1)
    middle = torch.stack([middle[:, 0], 0.5 * (low + high), middle[:, 2]], dim=-1)
    points = points - middle[:, None]
    return points / points.norm(dim=-1).amax(dim=1).clamp(min=1e-12)[:, None, None]


@torch.no_grad()
def direction_logits(networks: Sequence[FacingNetwork], points: Tensor) -> Tensor:
    """Logits as a network's, [NUM_DIRECTIONS + 1]: the mean over ``networks``, draws ``points`` [D, N, 3] and their
    mirror images."""
    points = centred(points)
    mirror, back = torch.tensor([-1.0, 1.0, 1.0]), -torch.arange(NUM_DIRECTIONS) % NUM_DIRECTIONS
    both = torch.cat([points, points * mirror])
    said = torch.stack([network(both).unflatten(0, (2, -1)) for network in networks]).mean(dim=(0, 2))
    fronts = 0.5 * (said[0, :-1] + said[1, :-1][back])  # what faced a faces -a
    return torch.cat([fronts, said[:, -1].mean()[None]])


def facing_of(logits: Tensor, temperature: float = 1.0) -> Facing:
    """The direction within ``NEAR_DEG`` of which most of the probability lies, and how much."""
    chances = (logits.double() / temperature).softmax(dim=0)
    none, fronts = float(chances[-1]), chances[:-1]
    if none > 1.0 - FRONT_AT_LEAST:
        return Facing(degrees=None, confidence=round(none, 3))
    near = round(NEAR_DEG / STEP_DEG)
    around = torch.stack([fronts.roll(shift) for shift in range(-near, near + 1)])  # [2 near + 1, directions]
    best = int(around.sum(dim=0).argmax())
    shares = torch.stack([fronts[(best + shift) % len(fronts)] for shift in range(-near, near + 1)])
    middle = float((shares * torch.arange(-near, near + 1)).sum() / shares.sum())
    degrees = wrapped(STEP_DEG * (best + middle))
    axis = wrapped(90.0 * round(degrees / 90.0))
    degrees = axis if abs(wrapped(degrees - axis)) <= SNAP_DEG else float(round(degrees))
    return Facing(degrees=degrees, confidence=round(min(float(shares.sum()), 0.999), 3))


def find_facing(asset: Gaussians) -> Facing:
    """Where ``asset``, y up, faces; the same whenever it is the same. Raises ``BadInput``: the weights are missing."""
    known = shipped()
    return facing_of(direction_logits(known.networks, draws(asset)), known.temperature)


def draws(asset: Gaussians) -> Tensor:
    """Points [DRAWS, N, 3] of the asset's body, half of the draws spread evenly over it, half at random."""
    body = asset.select(asset.body & (asset.opacities >= OPAQUE))
    body = body if body.num_gaussians else asset
    chosen = []
    for seed in range(DRAWS):
        generator = torch.Generator().manual_seed(seed)
        if seed % 2:
            index = torch.randint(0, body.num_gaussians, (NUM_POINTS,), generator=generator)
        else:
            index = spread_points(body, NUM_POINTS, seed).cpu()
            index = index[torch.arange(NUM_POINTS) % len(index)]  # where it has fewer
        chosen.append(body.means[index.to(body.means.device)].cpu().float())
    return torch.stack(chosen)


@dataclass(frozen=True)
class Known:
    """Trained networks."""

    networks: tuple[FacingNetwork, ...]
    temperature: float


@lru_cache(maxsize=1)
def shipped() -> Known:
    """The networks of the shipped weights. Raises ``BadInput``: they are missing."""
    return load(asset_path(FOLDER))


def load(folder: Path) -> Known:
    """The networks in ``folder``. Raises ``BadInput``: it is not there or not whole."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        sizes = int(about["width"]), int(about["signals"]), tuple(about["shifts"])
        networks = nn.ModuleList(FacingNetwork(*sizes) for _ in range(int(about["networks"])))
        networks.load_state_dict({name: value.float() for name, value in load_file(folder / WEIGHTS).items()})
        temperature = float(about["temperature"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise BadInput(
            f"The weights in {folder} cannot be read: {first_line(error)}.", "Say where it faces: --facing +z"
        ) from None
    networks.eval().requires_grad_(False)
    return Known(tuple(cast(FacingNetwork, network) for network in networks), temperature)


def save(folder: Path, networks: Sequence[FacingNetwork], temperature: float, about: Mapping[str, Any]) -> None:
    """Write what ``load`` reads; ``about`` is for people."""
    first, weights = networks[0], nn.ModuleList(networks).state_dict()
    with replacing(folder / WEIGHTS) as temporary:
        write_tensors(temporary, {name: value.half() for name, value in weights.items()})
    sizes = {"networks": len(networks), "width": first.width, "signals": first.signals, "shifts": list(first.shifts)}
    write_json(folder / ABOUT, {**sizes, "temperature": round(temperature, 3), **about})
