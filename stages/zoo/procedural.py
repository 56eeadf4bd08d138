"""Bodies made of ellipsoids on a random skeleton, with gaits written as curves: quadrupeds, bipeds, birds and fish.

They give the prior variety that a dozen files cannot: proportions, colours and stripes are drawn anew for every clip.
A body faces +z, its left is +x, and its rest pose is its bind pose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from stages.gaussians.surface import flat_gaussians
from stages.zoo.skeleton import Body, Pose, Skeleton

Curves = dict[str, tuple[str, Tensor]]
"""Joint (or "root height") -> axis of rotation and angle [T] in radians."""


@dataclass
class _Builder:
    """Joints and ellipsoids while a body is being put together."""

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
            if key == "root":
                translations[:, 0, "xyz".index(axis)] += value
            else:
                rotations[:, self.names.index(key.split("/")[0])] = _about(axis, value)
        return Pose(translations, rotations, rest.scales)


def quadruped(generator: torch.Generator, num_gaussians: int) -> ProceduralBody:
    """Four two-part legs, neck, head, tail. Walks, runs, jumps, eats, nods."""
    b = _Builder(generator)
    coat, belly, dark = b.colors()
    length, girth, leg = b.uniform(0.8, 1.3), b.uniform(0.17, 0.32), b.uniform(0.45, 0.95)
    hip = leg
    b.joint("root", None, 0.0, hip, 0.0)
    b.ellipsoid("root", (0.0, hip + 0.4 * girth, 0.0), (girth, girth * b.uniform(0.9, 1.3), 0.58 * length), coat)
    b.ellipsoid("root", (0.0, hip + 0.15 * girth, 0.0), (0.85 * girth, 0.9 * girth, 0.45 * length), belly)
    neck, rise = b.uniform(0.2, 0.6), b.uniform(0.3, 1.3)
    base = torch.tensor([0.0, hip + 0.8 * girth, 0.45 * length])
    top = base + neck * torch.tensor([0.0, math.sin(rise), math.cos(rise)])
    b.joint("neck", "root", *base.tolist())
    b.limb("neck", base, top, b.uniform(0.35, 0.6) * girth, coat)
    b.joint("head", "neck", *top.tolist())
    size = b.uniform(0.11, 0.18)
    b.ellipsoid("head", (0.0, float(top[1]), float(top[2]) + 0.7 * size), (0.75 * size, 0.8 * size, 1.3 * size), coat)
    b.ellipsoid(
        "head",
        (0.0, float(top[1]) - 0.2 * size, float(top[2]) + 1.6 * size),
        (0.45 * size, 0.4 * size, 0.7 * size),
        dark,
    )
    ear = b.uniform(0.5, 1.4) * size
    for x in (-1.0, 1.0):
        b.ellipsoid(
            "head",
            (x * 0.55 * size, float(top[1]) + 0.8 * size, float(top[2])),
            (0.2 * size, ear * 0.6, 0.25 * size),
            dark,
        )
    tail = torch.tensor([0.0, hip + 0.9 * girth, -0.52 * length])
    b.joint("tail", "root", *tail.tolist())
    b.limb("tail", tail, tail + b.uniform(0.15, 0.5) * torch.tensor([0.0, -0.6, -0.6]), 0.05, dark)
    thick = b.uniform(0.06, 0.1)
    for pair, z in (("F", 0.4 * length), ("H", -0.4 * length)):
        for side, x in (("L", 0.7 * girth), ("R", -0.7 * girth)):
            knee = 0.5 * leg
            b.joint(f"{pair}{side}", "root", x, hip, z)
            b.limb(f"{pair}{side}", torch.tensor([x, hip, z]), torch.tensor([x, hip - knee, z]), 1.25 * thick, coat)
            b.joint(f"{pair}{side}k", f"{pair}{side}", x, hip - knee, z)
            b.limb(f"{pair}{side}k", torch.tensor([x, hip - knee, z]), torch.tensor([x, 0.0, z]), 0.85 * thick, dark)

    def step(phase: Tensor, amplitude: float, offsets: dict[str, float], swing: float, bob: float) -> Curves:
        curves: Curves = {
            "root": ("y", bob * torch.cos(4 * math.pi * phase)),
            "neck": ("x", 0.12 * torch.cos(4 * math.pi * phase)),
        }
        for leg_name, offset in offsets.items():
            angle = 2 * math.pi * (phase - offset)
            curves[leg_name] = ("x", -swing * amplitude * torch.sin(angle))
            bend = (
                1.1 * swing * amplitude * torch.cos(angle).clamp(min=0.0)
            )  # the knee gives while the leg swings forward
            curves[leg_name + "k"] = ("x", bend)
        return curves

    def walk(phase: Tensor, amplitude: float) -> Curves:
        return step(phase, amplitude, {"HL": 0.0, "FL": 0.25, "HR": 0.5, "FR": 0.75}, 0.55, 0.015)

    def run(phase: Tensor, amplitude: float) -> Curves:
        curves = step(phase, amplitude, {"HL": 0.0, "HR": 0.08, "FL": 0.5, "FR": 0.58}, 0.8, 0.0)
        return curves | {"root": ("y", 0.12 * amplitude * torch.sin(2 * math.pi * phase).clamp(min=0.0))}

    def jump(phase: Tensor, amplitude: float) -> Curves:
        crouch, air = _bump(phase, 0.0, 0.35) + _bump(phase, 0.72, 1.0), _bump(phase, 0.3, 0.75)
        fold = 0.7 * crouch + 0.9 * air
        curves: Curves = {
            "root": ("y", amplitude * 0.55 * air - 0.25 * leg * crouch),
            "neck": ("x", 0.3 * crouch - 0.2 * air),
        }
        for name in ("FL", "FR"):
            curves |= {name: ("x", -0.8 * fold), name + "k": ("x", 1.6 * fold)}
        for name in ("HL", "HR"):
            curves |= {name: ("x", 0.5 * air - 0.6 * crouch), name + "k": ("x", 1.2 * crouch + 0.3 * air)}
        return curves

    def eat(phase: Tensor, amplitude: float) -> Curves:
        down = _plateau(phase)
        chew = 0.12 * torch.sin(10 * math.pi * phase) * down
        return {"neck": ("x", amplitude * (rise + 0.75) * down + chew), "head": ("x", 0.3 * down)}

    def nod(phase: Tensor, amplitude: float) -> Curves:
        return {
            "neck": ("x", 0.3 * amplitude * torch.sin(4 * math.pi * phase)),
            "head": ("x", 0.35 * amplitude * torch.sin(4 * math.pi * phase)),
        }

    motions = {"walk": walk, "run": run, "jump": jump, "eat": eat, "nod": nod}
    return ProceduralBody(b.body(num_gaussians), b.names, motions)


def biped(generator: torch.Generator, num_gaussians: int) -> ProceduralBody:
    """Trunk, head, two legs, two arms. Walks, runs, jumps, waves, nods."""
    b = _Builder(generator)
    coat, belly, dark = b.colors()
    leg, trunk, girth = b.uniform(0.55, 1.0), b.uniform(0.5, 0.8), b.uniform(0.14, 0.26)
    b.joint("root", None, 0.0, leg, 0.0)
    b.ellipsoid("root", (0.0, leg + 0.5 * trunk, 0.0), (1.2 * girth, 0.6 * trunk, 0.85 * girth), coat)
    shoulder, thick = leg + 0.9 * trunk, b.uniform(0.06, 0.1)
    b.joint("head", "root", 0.0, leg + 1.05 * trunk, 0.0)
    size = b.uniform(0.15, 0.26)
    b.ellipsoid("head", (0.0, leg + 1.05 * trunk + size, 0.0), (size, size, size), belly)
    b.ellipsoid("head", (0.0, leg + 1.05 * trunk + size, size), (0.5 * size, 0.3 * size, 0.3 * size), dark)
    for side, x in (("L", 1.0), ("R", -1.0)):
        hip_x, arm_x, arm = 0.6 * girth * x, 1.25 * girth * x, 0.45 * trunk
        b.joint(f"leg{side}", "root", hip_x, leg, 0.0)
        b.limb(f"leg{side}", torch.tensor([hip_x, leg, 0.0]), torch.tensor([hip_x, 0.5 * leg, 0.0]), 1.3 * thick, coat)
        b.joint(f"shin{side}", f"leg{side}", hip_x, 0.5 * leg, 0.0)
        b.limb(f"shin{side}", torch.tensor([hip_x, 0.5 * leg, 0.0]), torch.tensor([hip_x, 0.04, 0.0]), thick, dark)
        b.ellipsoid(f"shin{side}", (hip_x, 0.03, 0.07), (thick, 0.5 * thick, 1.8 * thick), dark)
        b.joint(f"arm{side}", "root", arm_x, shoulder, 0.0)
        b.limb(
            f"arm{side}",
            torch.tensor([arm_x, shoulder, 0.0]),
            torch.tensor([arm_x * 1.1, shoulder - arm, 0.0]),
            thick,
            coat,
        )
        b.joint(f"fore{side}", f"arm{side}", arm_x * 1.1, shoulder - arm, 0.0)
        b.limb(
            f"fore{side}",
            torch.tensor([arm_x * 1.1, shoulder - arm, 0.0]),
            torch.tensor([arm_x * 1.1, shoulder - 2 * arm, 0.0]),
            0.8 * thick,
            belly,
        )

    def stride(phase: Tensor, amplitude: float, swing: float, bob: float, elbows: float) -> Curves:
        curves: Curves = {"root": ("y", bob * (1.0 - torch.cos(4 * math.pi * phase)))}
        for side, offset in (("L", 0.0), ("R", 0.5)):
            angle = 2 * math.pi * (phase - offset)
            curves[f"leg{side}"] = ("x", -swing * amplitude * torch.sin(angle))
            curves[f"shin{side}"] = ("x", 1.3 * swing * amplitude * torch.cos(angle).clamp(min=0.0))
            curves[f"arm{side}"] = ("x", 0.9 * swing * amplitude * torch.sin(angle))
            curves[f"fore{side}"] = ("x", torch.full_like(phase, -elbows))
        return curves

    def walk(phase: Tensor, amplitude: float) -> Curves:
        return stride(phase, amplitude, 0.6, 0.015, 0.25)

    def run(phase: Tensor, amplitude: float) -> Curves:
        return stride(phase, amplitude, 0.95, 0.06, 1.3)

    def jump(phase: Tensor, amplitude: float) -> Curves:
        crouch, air = _bump(phase, 0.0, 0.35) + _bump(phase, 0.72, 1.0), _bump(phase, 0.3, 0.75)
        curves: Curves = {"root": ("y", amplitude * 0.6 * air - 0.35 * leg * crouch)}
        for side in "LR":
            curves |= {f"leg{side}": ("x", -1.0 * crouch - 0.4 * air), f"shin{side}": ("x", 1.8 * crouch + 0.7 * air)}
            curves |= {f"arm{side}": ("x", 0.8 * crouch - 2.2 * air)}
        return curves

    def wave(phase: Tensor, amplitude: float) -> Curves:
        up = (phase / 0.25).clamp(0.0, 1.0)
        return {"armL": ("z", 2.4 * up), "foreL": ("z", amplitude * 0.7 * torch.sin(6 * math.pi * phase) * up)}

    def nod(phase: Tensor, amplitude: float) -> Curves:
        return {"head": ("x", 0.45 * amplitude * torch.sin(4 * math.pi * phase))}

    motions = {"walk": walk, "run": run, "jump": jump, "wave": wave, "nod": nod}
    return ProceduralBody(b.body(num_gaussians), b.names, motions)


def bird(generator: torch.Generator, num_gaussians: int) -> ProceduralBody:
    """A body between two spread two-part wings. Flies."""
    b = _Builder(generator)
    coat, belly, dark = b.colors()
    length, girth, span, chord = b.uniform(0.5, 0.9), b.uniform(0.12, 0.22), b.uniform(0.4, 0.75), b.uniform(0.12, 0.22)
    b.joint("root", None, 0.0, 0.0, 0.0)
    b.ellipsoid("root", (0.0, 0.0, 0.0), (girth, girth, 0.6 * length), coat)
    size = b.uniform(0.1, 0.16)
    b.ellipsoid("root", (0.0, 0.6 * girth, 0.6 * length), (size, size, size), belly)
    b.ellipsoid("root", (0.0, 0.5 * girth, 0.6 * length + 1.3 * size), (0.25 * size, 0.25 * size, 0.7 * size), dark)
    b.ellipsoid("root", (0.0, 0.1 * girth, -0.75 * length), (0.8 * girth, 0.03, 0.3 * length), dark)
    for side, x in (("L", 1.0), ("R", -1.0)):
        root_x = 0.7 * girth * x
        b.joint(f"wing{side}", "root", root_x, 0.3 * girth, 0.1 * length)
        b.ellipsoid(
            f"wing{side}", (root_x + 0.5 * span * x, 0.3 * girth, 0.1 * length), (0.55 * span, 0.03, chord), coat
        )
        b.joint(f"tip{side}", f"wing{side}", root_x + span * x, 0.3 * girth, 0.1 * length)
        b.ellipsoid(
            f"tip{side}",
            (root_x + 1.45 * span * x, 0.3 * girth, 0.06 * length),
            (0.5 * span, 0.025, 0.75 * chord),
            dark,
        )

    def fly(phase: Tensor, amplitude: float) -> Curves:
        beat = 0.75 * amplitude * torch.sin(2 * math.pi * phase)
        lag = 0.6 * amplitude * torch.sin(2 * math.pi * (phase - 0.15))
        curves: Curves = {"root": ("y", -0.08 * amplitude * torch.sin(2 * math.pi * phase))}
        for side, sign in (("L", 1.0), ("R", -1.0)):
            curves |= {f"wing{side}": ("z", sign * beat), f"tip{side}": ("z", sign * lag)}
        return curves

    return ProceduralBody(b.body(num_gaussians), b.names, {"fly": fly})


def fish(generator: torch.Generator, num_gaussians: int) -> ProceduralBody:
    """A chain of ellipsoids with a tail fin. Swims, by a wave that grows towards the tail."""
    b = _Builder(generator)
    coat, belly, dark = b.colors()
    length, height, width = b.uniform(0.9, 1.4), b.uniform(0.15, 0.4), b.uniform(0.08, 0.18)
    num = 5
    for k in range(num):
        z = length * (0.5 - k / num)
        b.joint(f"s{k}", None if k == 0 else f"s{k - 1}", 0.0, 0.0, z)
        taper = math.sin(math.pi * (0.25 + 0.7 * k / num))
        b.ellipsoid(
            f"s{k}", (0.0, 0.0, z - 0.5 * length / num), (width * taper, height * taper, 0.85 * length / num), coat
        )
    end = -0.5 * length
    b.ellipsoid(
        f"s{num - 1}", (0.0, 0.0, end - 0.1 * length), (0.02, height * b.uniform(0.7, 1.3), 0.12 * length), dark
    )
    b.ellipsoid("s1", (0.0, height, 0.15 * length), (0.02, 0.35 * height, 0.15 * length), dark)
    for x in (-1.0, 1.0):
        b.ellipsoid("s1", (x * width, -0.3 * height, 0.1 * length), (0.6 * width, 0.02, 0.1 * length), belly)

    def swim(phase: Tensor, amplitude: float) -> Curves:
        return {
            f"s{k}": ("y", amplitude * (0.08 + 0.09 * k) * torch.sin(2 * math.pi * (phase - 0.12 * k)))
            for k in range(num)
        }

    return ProceduralBody(b.body(num_gaussians), b.names, {"swim": swim})


def _bump(phase: Tensor, start: float, end: float) -> Tensor:
    """A smooth hill on ``[start, end]``, zero outside."""
    u = ((phase - start) / (end - start)).clamp(0.0, 1.0)
    return torch.sin(math.pi * u) ** 2 if start == 0.0 else torch.sin(math.pi * u)


def _plateau(phase: Tensor) -> Tensor:
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
