"""Bodies made of ellipsoids on a random skeleton, with motions written as curves.

They give the prior variety that a dozen files cannot: proportions and colours are drawn anew for every clip. A body
faces +z, its left is +x, and its rest pose is its bind pose. The kinds are in ``walkers`` and ``waves``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from stages.gaussians.surface import flat_gaussians
from stages.skeletons.skeleton import Body, Pose, Skeleton

WAYS = ("aside", "up", "ahead")
Curves = dict[str, tuple[str, Tensor]]
"""Joint -> axis and angle [T] in radians of its turn; one of ``WAYS`` -> axis and distance [T] of the whole body."""


@dataclass
class Builder:
    """Joints and ellipsoids of a body that is being put together."""

    generator: torch.Generator
    names: list[str] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    positions: list[Tensor] = field(default_factory=list)
    parts: list[tuple[int, Tensor, Tensor, Tensor, Tensor]] = field(default_factory=list)

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def joint(self, name: str, parent: str | None, x: float, y: float, z: float) -> None:
        self.names.append(name)
        self.parents.append(-1 if parent is None else self.names.index(parent))
        self.positions.append(torch.tensor([x, y, z]))

    def ellipsoid(
        self,
        joint: str,
        centre: tuple[float, float, float],
        radii: tuple[float, float, float],
        color: Tensor,
        direction: tuple[float, float, float] = (0.0, 0.0, 1.0),
    ) -> None:
        """An ellipsoid whose third radius lies along ``direction``, carried by ``joint``."""
        part = (self.names.index(joint), torch.tensor(centre), torch.tensor(radii), color, torch.tensor(direction))
        self.parts.append(part)

    def limb(self, joint: str, start: Tensor, end: Tensor, radius: float, color: Tensor) -> None:
        """An ellipsoid from ``start`` to ``end``."""
        middle, half = 0.5 * (start + end), 0.5 * (end - start)
        length = float(half.norm())
        direction = (half / length).tolist()
        self.ellipsoid(joint, tuple(middle.tolist()), (radius, radius, length + 0.6 * radius), color, tuple(direction))

    def plate(
        self, joint: str, centre: Tensor, radii: tuple[float, float, float], color: Tensor, direction: Tensor
    ) -> None:
        """A flat ellipsoid: thin, wide, and long along ``direction``."""
        self.ellipsoid(joint, tuple(centre.tolist()), radii, color, tuple(direction.tolist()))

    def body(self, num_gaussians: int) -> Body:
        """Spread Gaussians over the ellipsoids by area; centre the box and scale its longest side to 2."""
        areas = torch.tensor([_area(radii) for _, _, radii, _, _ in self.parts])
        counts = (num_gaussians * areas / areas.sum()).ceil().long().tolist()
        points, normals, colors, owners = [], [], [], []
        for (joint, centre, radii, color, direction), count in zip(self.parts, counts, strict=True):
            unit = _sphere(count, self.generator)
            frame = _frame_with_z(direction)
            points.append(centre + (unit * radii) @ frame.T)
            normals.append((unit / radii) @ frame.T)
            colors.append(self._paint(color, points[-1], normals[-1]))
            owners.append(torch.full((count,), joint))
        means, owner = torch.cat(points), torch.cat(owners)
        low, high = means.amin(0), means.amax(0)
        scale = 2.0 / float((high - low).max())
        world = torch.eye(4)
        world[:3, :3] *= scale
        world[:3, 3] = -scale * 0.5 * (low + high)
        spacing = scale * float((areas.sum() / num_gaussians).sqrt())
        placed = means @ world[:3, :3].T + world[:3, 3]
        gaussians = flat_gaussians(placed, torch.cat(normals), torch.cat(colors), spacing)
        positions = torch.stack(self.positions)
        local = positions - torch.stack([positions[p] if p >= 0 else torch.zeros(3) for p in self.parents])
        inverse_bind = torch.eye(4).repeat(len(self.names), 1, 1)
        inverse_bind[:, :3, 3] = -positions
        num = len(self.names)
        rest = Pose(local[None], torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(1, num, 4), torch.ones(1, num, 3))
        skeleton = Skeleton(parents=self.parents, joints=list(range(num)), inverse_bind=inverse_bind, world=world)
        weights = torch.nn.functional.one_hot(owner, num).float()
        return Body(gaussians=gaussians, bind_means=means, weights=weights, skeleton=skeleton, rest=rest)

    def _paint(self, color: Tensor, points: Tensor, normals: Tensor) -> Tensor:
        """Lighter from above, darker below, as every picture of a lit animal is."""
        up = torch.nn.functional.normalize(normals, dim=-1)[:, 1:2]
        noise = 0.03 * torch.randn(len(points), 1, generator=self.generator)
        return (color * (0.88 + 0.12 * up) + noise).clamp(0.02, 0.98)

    def colors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Coat, belly and extremities, random but related."""
        hue = torch.rand(3, generator=self.generator)
        brown = torch.tensor([0.55, 0.36, 0.2])
        mix = self.uniform(0.0, 1.0)
        coat = (mix * brown + (1 - mix) * hue) * self.uniform(0.55, 1.25)
        coat = coat.clamp(0.06, 0.92)
        return coat, (coat + self.uniform(0.0, 0.35)).clamp(max=0.95), coat * self.uniform(0.3, 0.9)


@dataclass(frozen=True)
class ProceduralBody:
    """A body and the motions it can make."""

    body: Body
    names: list[str]
    motions: Mapping[str, Callable[[Tensor, float], Curves]]  # verb -> curves of (phase [T] in cycles, amplitude)

    def pose(self, verb: str, phase: Tensor, amplitude: float) -> Pose:
        """Local transforms at ``phase`` [T], counted in cycles of the motion."""
        num = len(phase)
        rest = self.body.rest.repeat(num)
        translations, rotations = rest.translations.clone(), rest.rotations.clone()
        for key, (axis, value) in self.motions[verb](phase, amplitude).items():
            if key in WAYS:
                translations[:, 0, "xyz".index(axis)] += value
            else:
                rotations[:, self.names.index(key)] = _about(axis, value)
        return Pose(translations, rotations, rest.scales)


def bump(phase: Tensor, start: float, end: float) -> Tensor:
    """A smooth hill on ``[start, end]``, zero outside."""
    u = ((phase - start) / (end - start)).clamp(0.0, 1.0)
    return torch.sin(math.pi * u) ** 2 if start == 0.0 else torch.sin(math.pi * u)


def plateau(phase: Tensor) -> Tensor:
    """Up within the first quarter, down again in the last."""
    return torch.minimum((phase / 0.3).clamp(0.0, 1.0), ((1.0 - phase) / 0.25).clamp(0.0, 1.0))


def _about(axis: str, angle: Tensor) -> Tensor:
    """Quaternions [T, 4] of rotations by ``angle`` [T] about a coordinate axis."""
    quats = torch.zeros(len(angle), 4)
    quats[:, 0] = torch.cos(0.5 * angle)
    quats[:, 1 + "xyz".index(axis)] = torch.sin(0.5 * angle)
    return quats


def _area(radii: Tensor) -> float:
    """Surface of an ellipsoid (Thomsen's approximation)."""
    a, b, c = (radii**1.6075).tolist()
    return 4 * math.pi * ((a * b + a * c + b * c) / 3) ** (1 / 1.6075)


def _sphere(count: int, generator: torch.Generator) -> Tensor:
    """Evenly spread unit vectors [count, 3] (Fibonacci lattice, random start)."""
    k = torch.arange(count) + 0.5
    y = 1.0 - 2.0 * k / count
    angle = 2.399963229728653 * k + 6.2831853 * float(torch.rand((), generator=generator))
    r = (1.0 - y * y).clamp(min=0.0).sqrt()
    return torch.stack([r * torch.cos(angle), y, r * torch.sin(angle)], dim=-1)


def _frame_with_z(direction: Tensor) -> Tensor:
    """A rotation [3, 3] whose third column is the unit ``direction``."""
    helper = torch.tensor([1.0, 0.0, 0.0]) if abs(float(direction[0])) < 0.9 else torch.tensor([0.0, 1.0, 0.0])
    y = torch.nn.functional.normalize(torch.linalg.cross(direction, helper), dim=0)
    return torch.stack([torch.linalg.cross(y, direction), y, direction], dim=1)
