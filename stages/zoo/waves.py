"""Bodies that beat and undulate: birds, insects, fish, snakes, plants and flags of random build."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stages.zoo.builder import Builder, Curves, ProceduralBody, bump


def bird(generator: torch.Generator, num_gaussians: int) -> ProceduralBody:
    """A body between two two-part wings, spread flat or raised as an insect's. Flies, attacks by a dive."""
    b = Builder(generator)
    coat, belly, dark = b.colors()
    length, girth, span, chord = b.uniform(0.5, 0.9), b.uniform(0.12, 0.26), b.uniform(0.4, 0.75), b.uniform(0.12, 0.26)
    b.joint("root", None, 0.0, 0.0, 0.0)
    b.ellipsoid("root", (0.0, 0.0, 0.0), (girth, girth, 0.6 * length), coat)
    size = b.uniform(0.1, 0.2)
    b.ellipsoid("root", (0.0, 0.6 * girth, 0.6 * length), (size, size, size), belly)
    b.ellipsoid("root", (0.0, 0.5 * girth, 0.6 * length + 1.3 * size), (0.25 * size, 0.25 * size, 0.7 * size), dark)
    b.ellipsoid("root", (0.0, 0.1 * girth, -0.75 * length), (0.8 * girth, b.uniform(0.03, 0.2), 0.3 * length), dark)
    lift = b.uniform(0.0, 0.2) if b.uniform(0.0, 1.0) < 0.6 else b.uniform(0.2, 0.9)  # of the wings at rest
    for side, x in (("L", 1.0), ("R", -1.0)):
        along = torch.tensor([x * math.cos(lift), math.sin(lift), 0.0])
        inner = torch.tensor([0.7 * girth * x, 0.3 * girth, 0.1 * length])
        outer = inner + span * along
        b.joint(f"wing{side}", "root", *inner.tolist())
        b.plate(f"wing{side}", inner + 0.5 * span * along, (0.03, chord, 0.55 * span), coat, along)
        b.joint(f"tip{side}", f"wing{side}", *outer.tolist())
        b.plate(f"tip{side}", outer + 0.45 * span * along, (0.025, 0.75 * chord, 0.5 * span), dark, along)

    def fly(phase: Tensor, amplitude: float) -> Curves:
        beat = 0.75 * amplitude * torch.sin(2 * math.pi * phase)
        lag = 0.6 * amplitude * torch.sin(2 * math.pi * (phase - 0.15))
        curves: Curves = {"up": ("y", -0.08 * amplitude * torch.sin(2 * math.pi * phase))}
        for side, sign in (("L", 1.0), ("R", -1.0)):
            curves |= {f"wing{side}": ("z", sign * beat), f"tip{side}": ("z", sign * lag)}
        return curves

    def attack(phase: Tensor, amplitude: float) -> Curves:
        back, dive = bump(phase, 0.1, 0.45), bump(phase, 0.4, 0.85)
        curves: Curves = {
            "ahead": ("z", amplitude * (0.3 * dive - 0.15 * back) * length),
            "up": ("y", amplitude * (0.15 * back - 0.25 * dive)),
            "root": ("x", amplitude * (0.6 * dive - 0.4 * back)),
        }
        for side, sign in (("L", 1.0), ("R", -1.0)):
            curves |= {f"wing{side}": ("z", sign * amplitude * (0.7 * back - 0.3 * dive))}
        return curves

    return ProceduralBody(b.body(num_gaussians), b.names, {"fly": fly, "attack": attack})


def insect(generator: torch.Generator, num_gaussians: int) -> ProceduralBody:
    """Head, thorax and a striped abdomen, level or hanging, legs, narrow wings swept back. Flies, attacks (stings)."""
    b = Builder(generator)
    coat, belly, dark = b.colors()
    glass = (torch.tensor([0.6, 0.75, 0.85]) * b.uniform(0.7, 1.2)).clamp(max=0.95) if b.uniform(0, 1) < 0.6 else coat
    size, girth, length = b.uniform(0.12, 0.24), b.uniform(0.14, 0.28), b.uniform(0.3, 0.6)
    b.joint("root", None, 0.0, 0.0, 0.0)
    b.ellipsoid("root", (0.0, 0.0, 0.0), (0.9 * girth, 0.9 * girth, 1.1 * girth), coat)
    face = torch.tensor([0.0, b.uniform(-0.3, 0.6), 1.0]) * (0.8 * girth + 0.8 * size)
    b.joint("head", "root", *(0.5 * face).tolist())
    b.ellipsoid("head", tuple(face.tolist()), (size, size, size), belly)
    for x in (-1.0, 1.0):
        b.ellipsoid("head", tuple((face + size * torch.tensor([0.6 * x, 0.3, 0.6])).tolist()), (0.3 * size,) * 3, dark)
        root = face + size * torch.tensor([0.4 * x, 0.8, 0.2])
        b.limb("head", root, root + size * torch.tensor([0.4 * x, 1.0, 1.0]), 0.025, dark)
    hang, num = b.uniform(-0.1, 1.4), 4
    along = torch.tensor([0.0, -math.sin(hang), -math.cos(hang)])
    for k in range(num):
        start = along * (0.7 * girth + length * k / num)
        b.joint(f"s{k}", "root" if k == 0 else f"s{k - 1}", *start.tolist())
        wide = girth * math.sin(math.pi * (0.3 + 0.55 * (k + 0.5) / num)) * 1.1
        centre = tuple((start + 0.5 * length / num * along).tolist())
        b.ellipsoid(f"s{k}", centre, (wide, wide, 0.75 * length / num), dark if k % 2 else coat, tuple(along.tolist()))
    end = along * (0.7 * girth + length)
    b.limb(f"s{num - 1}", end, end + 0.1 * along, 0.025, dark)
    for k in range(3):
        for x in (-1.0, 1.0):
            hip = torch.tensor([0.6 * x * girth, -0.6 * girth, (0.4 - 0.4 * k) * girth])
            b.limb("root", hip, hip + b.uniform(0.15, 0.35) * torch.tensor([0.5 * x, -1.0, 0.2 - 0.3 * k]), 0.03, dark)
    span, chord = b.uniform(0.5, 1.0), b.uniform(0.1, 0.2)
    sweep, lift = b.uniform(0.0, 1.2), b.uniform(0.0, 0.9)  # back and up, of the wings at rest
    for side, x in (("L", 1.0), ("R", -1.0)):
        out = torch.tensor([x * math.cos(sweep) * math.cos(lift), math.sin(lift), -math.sin(sweep) * math.cos(lift)])
        base = torch.tensor([0.5 * girth * x, 0.7 * girth, 0.0])
        b.joint(f"wing{side}", "root", *base.tolist())
        b.plate(f"wing{side}", base + 0.5 * span * out, (0.02, chord, 0.55 * span), glass, out)

    rise = b.uniform(-0.1, 0.3)
    bob, nod, upwards = b.uniform(0.02, 0.12), b.uniform(0.0, 0.15), sweep > 0.6 and b.uniform(0.0, 1.0) < 0.5

    def beat(turn: Tensor, amplitude: float) -> Curves:
        """Up and down; wings that point back may swing up and forward instead."""
        if upwards:
            return {f"wing{side}": ("x", 0.75 * amplitude * (1.0 - torch.cos(turn))) for side in "LR"}
        return {f"wing{side}": ("z", sign * amplitude * torch.sin(turn)) for side, sign in (("L", 1), ("R", -1))}

    def fly(phase: Tensor, amplitude: float) -> Curves:
        turn = 2 * math.pi * phase
        curves: Curves = {
            "up": ("y", -bob * amplitude * torch.sin(turn)),
            "root": ("x", nod * torch.sin(turn - 0.5)),
            "s0": ("x", 0.12 * amplitude * torch.sin(turn - 0.8)),
        }
        return curves | beat(turn, amplitude)

    def attack(phase: Tensor, amplitude: float) -> Curves:
        back, sting = bump(phase, 0.1, 0.45), bump(phase, 0.4, 0.85)
        curves: Curves = {
            "ahead": ("z", amplitude * (0.25 * sting - 0.15 * back)),
            "up": ("y", amplitude * rise * (0.5 * back + sting)),
            "root": ("x", amplitude * (0.3 * back - 0.7 * sting)),
        }
        curves |= {f"s{k}": ("x", -amplitude * (0.2 * sting - 0.1 * back)) for k in range(num)}
        return curves | beat(6 * math.pi * phase, 0.8)

    return ProceduralBody(b.body(num_gaussians), b.names, {"fly": fly, "attack": attack})


def fish(generator: torch.Generator, num_gaussians: int) -> ProceduralBody:
    """A chain of ellipsoids with a tail fin. Swims, by a wave that grows towards the tail; attacks by a dash."""
    b = Builder(generator)
    coat, belly, dark = b.colors()
    length, height, width = b.uniform(0.9, 1.4), b.uniform(0.15, 0.45), b.uniform(0.08, 0.25)
    num = 5
    b.joint("root", None, 0.0, 0.0, 0.2 * length)
    for k in range(num):
        z = length * (0.5 - k / num)
        b.joint(f"s{k}", "root" if k == 0 else f"s{k - 1}", 0.0, 0.0, z)
        taper = math.sin(math.pi * (0.25 + 0.7 * k / num))
        b.ellipsoid(
            f"s{k}", (0.0, 0.0, z - 0.5 * length / num), (width * taper, height * taper, 0.85 * length / num), coat
        )
    end = -0.5 * length
    b.ellipsoid(
        f"s{num - 1}", (0.0, 0.0, end - 0.1 * length), (0.02, height * b.uniform(0.7, 1.3), 0.12 * length), dark
    )
    fin, fan, eye = b.uniform(0.25, 0.6) * height, b.uniform(0.0, 0.7), b.uniform(0.05, 0.12)
    b.ellipsoid("s1", (0.0, height, 0.15 * length), (0.02, fin, b.uniform(0.12, 0.25) * length), dark)
    for y in (-1.0, 1.0):  # the tail's two lobes, from nothing to a veil
        lobe = torch.tensor([0.0, y * fan, -0.5 * fan])
        b.limb(
            f"s{num - 1}", torch.tensor([0.0, 0.0, end]), torch.tensor([0.0, 0.0, end - 0.1]) + 0.6 * lobe, 0.04, dark
        )
    reach, lag, beat = b.uniform(0.5, 1.2) * width, b.uniform(0.07, 0.18), b.uniform(0.06, 0.13)
    for side, x in (("L", 1.0), ("R", -1.0)):
        b.ellipsoid("s0", (x * 0.7 * width, 0.15 * height, 0.4 * length), (0.4 * eye, eye, eye), 0.3 * dark)
        b.joint(f"fin{side}", "s1", 0.8 * x * width, -0.3 * height, 0.12 * length)
        b.ellipsoid(f"fin{side}", (x * width, -0.3 * height, 0.1 * length), (reach, 0.02, 0.1 * length), belly)

    flap, pitch, sway = b.uniform(0.0, 0.7), b.uniform(-0.1, 0.7), b.uniform(0.0, 0.08)

    def swim(phase: Tensor, amplitude: float) -> Curves:
        turn = 2 * math.pi * phase
        curves: Curves = {"aside": ("x", sway * torch.sin(turn)), "up": ("y", 0.4 * sway * torch.sin(2 * turn))}
        curves |= {
            f"s{k}": ("y", amplitude * (beat - 0.02 + beat * k) * torch.sin(turn - 2 * math.pi * lag * k))
            for k in range(num)
        }
        return curves | {f"fin{side}": ("z", sign * flap * torch.sin(turn)) for side, sign in (("L", 1), ("R", -1))}

    def attack(phase: Tensor, amplitude: float) -> Curves:
        back, dash = bump(phase, 0.1, 0.45), bump(phase, 0.4, 0.85)
        curves: Curves = {
            "ahead": ("z", amplitude * (0.25 * dash - 0.12 * back)),
            "up": ("y", amplitude * 0.25 * pitch * (back + dash)),
            "root": ("x", amplitude * pitch * (0.5 * dash - back)),
        }
        return curves | {f"s{k}": ("y", amplitude * 0.25 * torch.sin(4 * math.pi * phase - k)) for k in range(1, num)}

    return ProceduralBody(b.body(num_gaussians), b.names, {"swim": swim, "attack": attack})


def snake(generator: torch.Generator, num_gaussians: int) -> ProceduralBody:
    """A long chain on the ground whose first part may be raised. Slithers, by a wave that runs back; attacks."""
    b = Builder(generator)
    coat, belly, dark = b.colors()
    length, girth, num = 1.8, b.uniform(0.06, 0.11), 9
    raised = b.uniform(0.0, 0.5)
    place = torch.tensor([0.0, 0.0, 0.5 * length])
    places = []
    for k in range(num + 1):
        places.append(place)
        slope = raised * max(0.0, 1.0 - k / 3)
        place = place - length / num * torch.tensor([0.0, math.sin(slope), math.cos(slope)])
    lowest = float(places[-1][1])
    places = [p - torch.tensor([0.0, lowest, 0.0]) for p in places]
    names = [f"s{k}" for k in range(num)]
    middle = 3  # the ground holds it there; the head hangs on the chain that leads ahead
    for k in range(middle, num):
        b.joint(names[k], None if k == middle else names[k - 1], *places[k].tolist())
    for k in reversed(range(middle)):
        b.joint(names[k], names[k + 1], *places[k + 1].tolist())
    for k, name in enumerate(names):
        taper = 1.0 if k < 0.6 * num else 1.0 - 0.7 * (k - 0.6 * num) / (0.4 * num)
        b.limb(name, places[k], places[k + 1], girth * taper, coat if k % 2 else belly)
    top = places[0].tolist()
    b.ellipsoid("s0", (top[0], top[1], top[2] + girth), (1.4 * girth, girth, 2.0 * girth), dark)

    def slither(phase: Tensor, amplitude: float) -> Curves:
        def bend(k: int) -> Tensor:
            return 0.5 * amplitude * torch.sin(2 * math.pi * (phase - k / 6))

        return {name: ("y", bend(k) if k >= middle else -0.6 * bend(k)) for k, name in enumerate(names)}

    def attack(phase: Tensor, amplitude: float) -> Curves:
        back, strike = bump(phase, 0.1, 0.5), bump(phase, 0.45, 0.85)
        lift = amplitude * (0.6 * back + 0.15 * strike)
        curves: Curves = {name: ("x", -lift if k else 1.6 * lift) for k, name in enumerate(names[:middle])}
        return curves | {"ahead": ("z", amplitude * (0.35 * strike - 0.2 * back))}

    return ProceduralBody(b.body(num_gaussians), b.names, {"slither": slither, "attack": attack})


def plant(generator: torch.Generator, num_gaussians: int) -> ProceduralBody:
    """A stem with leaves and a blossom, in a pot or not. Sways, the more the higher."""
    b = Builder(generator)
    green = torch.tensor([b.uniform(0.1, 0.4), b.uniform(0.35, 0.7), b.uniform(0.08, 0.3)])
    petals, pot, _ = b.colors()
    height, thick, num = b.uniform(1.0, 1.6), b.uniform(0.03, 0.09), 4
    b.joint("pot", None, 0.0, 0.0, 0.0)
    if b.uniform(0.0, 1.0) < 0.6:
        b.ellipsoid("pot", (0.0, 0.05, 0.0), (b.uniform(0.18, 0.3), b.uniform(0.12, 0.25), 0.22), pot)
    leaf = b.uniform(0.15, 0.4)
    for k in range(num):
        low, high = (torch.tensor([0.0, height * j / num, 0.0]) for j in (k, k + 1))
        b.joint(f"s{k}", "pot" if k == 0 else f"s{k - 1}", *low.tolist())
        b.limb(f"s{k}", low, high, thick, green)
        for _ in range(2):
            angle = b.uniform(0.0, 2 * math.pi)
            along = torch.tensor([math.cos(angle), 0.5, math.sin(angle)]) / math.sqrt(1.25)
            b.plate(f"s{k}", high + leaf * along, (0.02, 0.4 * leaf, leaf), green * b.uniform(0.8, 1.3), along)
    size = b.uniform(0.1, 0.4)
    b.ellipsoid(f"s{num - 1}", (0.0, height, 0.0), (size, 0.7 * size, size), petals)

    def sway(phase: Tensor, amplitude: float) -> Curves:
        return {
            f"s{k}": ("z", -amplitude * (0.1 + 0.04 * k) * torch.sin(2 * math.pi * (phase - 0.05 * k)))
            for k in range(num)
        }

    return ProceduralBody(b.body(num_gaussians), b.names, {"sway": sway})


def flag(generator: torch.Generator, num_gaussians: int) -> ProceduralBody:
    """Cloth on a pole. Sways (flutters) by a wave that runs away from the pole and grows."""
    b = Builder(generator)
    cloth, stripe, pole = b.colors()
    width, height, num = b.uniform(0.9, 1.4), b.uniform(0.5, 0.9), 6
    b.joint("pole", None, 0.0, 0.0, 0.0)
    low, high = torch.tensor([0.0, -b.uniform(0.5, 1.2), 0.0]), torch.tensor([0.0, 0.55 * height, 0.0])
    b.limb("pole", low, high, 0.03, pole)
    for k in range(num):
        x = width * k / num
        b.joint(f"s{k}", "pole" if k == 0 else f"s{k - 1}", x, 0.0, 0.0)
        radii = (0.75 * width / num, 0.5 * height, 0.02)
        b.ellipsoid(f"s{k}", (x + 0.5 * width / num, 0.0, 0.0), radii, stripe if k % 2 else cloth)

    def sway(phase: Tensor, amplitude: float) -> Curves:
        return {
            f"s{k}": ("y", amplitude * (0.2 + 0.1 * k) * torch.sin(2 * math.pi * (phase - k / num))) for k in range(num)
        }

    return ProceduralBody(b.body(num_gaussians), b.names, {"sway": sway})
