"""Bodies on legs: quadrupeds, bipeds, and theropods (two legs below a level trunk), of random build."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stages.zoo.builder import Builder, Curves, ProceduralBody, bump, plateau


def quadruped(generator: torch.Generator, num_gaussians: int) -> ProceduralBody:
    """Four two-part legs, neck, head, tail. Walks, runs, jumps, eats, attacks with its head, nods."""
    b = Builder(generator)
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

    roll = b.uniform(0.0, 0.08)

    def step(phase: Tensor, amplitude: float, offsets: dict[str, float], swing: float, bob: float) -> Curves:
        curves: Curves = {
            "up": ("y", bob * torch.cos(4 * math.pi * phase)),
            "root": ("z", roll * torch.sin(2 * math.pi * phase)),
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
        return curves | {"up": ("y", 0.12 * amplitude * torch.sin(2 * math.pi * phase).clamp(min=0.0))}

    def jump(phase: Tensor, amplitude: float) -> Curves:
        crouch, air = bump(phase, 0.0, 0.35) + bump(phase, 0.72, 1.0), bump(phase, 0.3, 0.75)
        fold = 0.7 * crouch + 0.9 * air
        curves: Curves = {
            "up": ("y", amplitude * 0.55 * air - 0.25 * leg * crouch),
            "neck": ("x", 0.3 * crouch - 0.2 * air),
        }
        for name in ("FL", "FR"):
            curves |= {name: ("x", -0.8 * fold), name + "k": ("x", 1.6 * fold)}
        for name in ("HL", "HR"):
            curves |= {name: ("x", 0.5 * air - 0.6 * crouch), name + "k": ("x", 1.2 * crouch + 0.3 * air)}
        return curves

    def eat(phase: Tensor, amplitude: float) -> Curves:
        down = plateau(phase)
        chew = 0.12 * torch.sin(10 * math.pi * phase) * down
        return {"neck": ("x", amplitude * (rise + 0.75) * down + chew), "head": ("x", 0.3 * down)}

    def attack(phase: Tensor, amplitude: float) -> Curves:
        back, thrust = bump(phase, 0.1, 0.45), bump(phase, 0.4, 0.8)
        curves: Curves = {
            "ahead": ("z", amplitude * (0.2 * thrust - 0.12 * back) * length),
            "up": ("y", -0.12 * leg * (back + thrust)),
            "neck": ("x", amplitude * (0.7 * thrust - 0.3 * back)),
            "head": ("x", 0.35 * (thrust - back)),
        }
        for name in ("FL", "FR", "HL", "HR"):  # the feet stay where they are
            curves |= {name: ("x", 0.35 * amplitude * thrust - 0.25 * back), name + "k": ("x", 0.4 * back)}
        return curves

    def nod(phase: Tensor, amplitude: float) -> Curves:
        return {
            "neck": ("x", 0.3 * amplitude * torch.sin(4 * math.pi * phase)),
            "head": ("x", 0.35 * amplitude * torch.sin(4 * math.pi * phase)),
        }

    motions = {"walk": walk, "run": run, "jump": jump, "eat": eat, "attack": attack, "nod": nod}
    return ProceduralBody(b.body(num_gaussians), b.names, motions)


def biped(generator: torch.Generator, num_gaussians: int) -> ProceduralBody:
    """Trunk, head, two legs, two arms; one in two is a stout toy. Walks, runs, jumps, punches, dances, waves, nods."""
    b = Builder(generator)
    coat, belly, dark = b.colors()
    stout = b.uniform(0.0, 1.0) < 0.5
    leg, trunk, girth = b.uniform(0.4, 0.7 if stout else 1.0), b.uniform(0.5, 0.8), b.uniform(0.14, 0.3)
    b.joint("root", None, 0.0, leg, 0.0)
    for lower, upper in (("root", "roll"), ("roll", "twist"), ("twist", "lean")):  # the waist, one axis each
        b.joint(upper, lower, 0.0, leg, 0.0)
    b.ellipsoid("lean", (0.0, leg + 0.5 * trunk, 0.0), (1.2 * girth, 0.6 * trunk, 0.85 * girth), coat)
    shoulder, thick = leg + 0.9 * trunk, b.uniform(0.09, 0.16) if stout else b.uniform(0.06, 0.1)
    b.joint("head", "lean", 0.0, leg + 1.05 * trunk, 0.0)
    size = b.uniform(0.3, 0.45) if stout else b.uniform(0.15, 0.34)
    wide, high = b.uniform(0.85, 1.25) * size, b.uniform(0.7, 1.0) * size
    b.ellipsoid("head", (0.0, leg + 1.05 * trunk + high, 0.0), (wide, high, size), belly)
    b.ellipsoid("head", (0.0, leg + 1.05 * trunk + high, 0.9 * size), (0.6 * wide, 0.35 * high, 0.3 * size), dark)
    spread = b.uniform(0.05, 0.7) if b.uniform(0.0, 1.0) < 0.85 else 1.45  # from hanging arms to a T
    hands, feet = b.uniform(0.8, 1.6), b.uniform(0.8, 1.4)
    for side, x in (("L", 1.0), ("R", -1.0)):
        hip_x, arm_x, arm = 0.6 * girth * x, 1.25 * girth * x, 0.45 * trunk
        b.joint(f"leg{side}", "root", hip_x, leg, 0.0)
        b.limb(f"leg{side}", torch.tensor([hip_x, leg, 0.0]), torch.tensor([hip_x, 0.5 * leg, 0.0]), 1.3 * thick, coat)
        b.joint(f"shin{side}", f"leg{side}", hip_x, 0.5 * leg, 0.0)
        b.limb(f"shin{side}", torch.tensor([hip_x, 0.5 * leg, 0.0]), torch.tensor([hip_x, 0.04, 0.0]), thick, dark)
        b.ellipsoid(f"shin{side}", (hip_x, 0.03, 0.07), (feet * thick, 0.5 * feet * thick, 1.8 * feet * thick), dark)
        along = torch.tensor([x * math.sin(spread), -math.cos(spread), 0.0])  # of the arm
        top = torch.tensor([arm_x, shoulder, 0.0])
        b.joint(f"arm{side}", "lean", *top.tolist())
        b.limb(f"arm{side}", top, top + arm * along, thick, coat)
        b.joint(f"fore{side}", f"arm{side}", *(top + arm * along).tolist())
        b.limb(f"fore{side}", top + arm * along, top + 2 * arm * along, thick * hands, belly)

    # how this one does it
    roll, twist, shift, bend = b.uniform(0.0, 0.12), b.uniform(0.0, 0.3), b.uniform(0.0, 0.05), b.uniform(0.0, 0.9)
    dance_style, wave_forward, wiggles = int(b.uniform(0.0, 3.0)), b.uniform(0.0, 1.0) < 0.3, 2 * int(b.uniform(2, 5))

    def stride(phase: Tensor, amplitude: float, swing: float, bob: float, elbows: float, lean: float) -> Curves:
        turn = 2 * math.pi * phase
        curves: Curves = {
            "up": ("y", bob * (1.0 - torch.cos(2 * turn))),
            "aside": ("x", -shift * torch.cos(turn)),
            "roll": ("z", roll * torch.cos(turn)),
            "twist": ("y", twist * amplitude * torch.sin(turn)),
            "lean": ("x", torch.full_like(phase, lean)),
        }
        for side, offset in (("L", 0.0), ("R", 0.5)):
            angle = 2 * math.pi * (phase - offset)
            curves[f"leg{side}"] = ("x", -swing * amplitude * torch.sin(angle))
            curves[f"shin{side}"] = ("x", 1.3 * swing * amplitude * torch.cos(angle).clamp(min=0.0))
            curves[f"arm{side}"] = ("x", 0.9 * swing * amplitude * torch.sin(angle))
            curves[f"fore{side}"] = ("x", torch.full_like(phase, -elbows))
        return curves

    def walk(phase: Tensor, amplitude: float) -> Curves:
        return stride(phase, amplitude, 0.6, 0.015, 0.15 + bend, 0.1 * bend)

    def run(phase: Tensor, amplitude: float) -> Curves:
        return stride(phase, amplitude, 0.95, 0.06, 1.0 + 0.6 * bend, 0.4 * bend)

    def jump(phase: Tensor, amplitude: float) -> Curves:
        crouch, air = bump(phase, 0.0, 0.35) + bump(phase, 0.72, 1.0), bump(phase, 0.3, 0.75)
        curves: Curves = {"up": ("y", amplitude * 0.6 * air - 0.35 * leg * crouch)}
        for side in "LR":
            curves |= {f"leg{side}": ("x", -1.0 * crouch - 0.4 * air), f"shin{side}": ("x", 1.8 * crouch + 0.7 * air)}
            curves |= {f"arm{side}": ("x", 0.8 * crouch - 2.2 * air)}
        return curves

    def wave(phase: Tensor, amplitude: float) -> Curves:
        up = (phase / 0.25).clamp(0.0, 1.0)
        wiggle = amplitude * 0.7 * torch.sin(wiggles * math.pi * phase) * up
        arm = ("x", -2.6 * up) if wave_forward else ("z", -(2.4 - spread) * up)
        return {
            "armR": arm,
            "foreR": ("z", wiggle),
            "roll": ("z", roll * up),
            "head": ("z", 0.3 * twist * torch.sin(4 * math.pi * phase)),
        }

    def attack(phase: Tensor, amplitude: float) -> Curves:
        back, hit = bump(phase, 0.1, 0.45), bump(phase, 0.4, 0.85)
        return {
            "twist": ("y", amplitude * (0.5 * hit - 0.35 * back)),  # the right shoulder comes ahead
            "ahead": ("z", amplitude * (0.12 * hit - 0.05 * back)),
            "armR": ("x", amplitude * (0.6 * back - 1.5 * hit)),
            "foreR": ("x", -1.5 * back - 0.1 * hit),
            "armL": ("x", 0.4 * hit - 0.3 * back),
            "legR": ("x", 0.25 * hit),
            "legL": ("x", -0.3 * hit),
        }

    def dance(phase: Tensor, amplitude: float) -> Curves:
        """Steps to the sides with arms that rise in turn, a twist with pumping arms, or arms overhead and kicks."""
        beat = torch.sin(4 * math.pi * phase)  # two to each side
        begun = (phase / 0.2).clamp(max=1.0)
        curves: Curves = {"up": ("y", -0.1 * leg * beat.square()), "head": ("z", 0.25 * amplitude * beat)}
        if dance_style == 1:
            curves |= {"twist": ("y", 0.6 * amplitude * beat), "root": ("y", -0.3 * amplitude * beat)}
        else:
            curves |= {"aside": ("x", 0.14 * amplitude * beat), "roll": ("z", -(0.15 + roll) * amplitude * beat)}
        for side, sign in (("L", 1.0), ("R", -1.0)):
            lifted = (sign * beat).clamp(min=0.0)
            kick = 0.4 if dance_style == 1 else 1.2
            curves |= {f"leg{side}": ("x", -0.7 * amplitude * lifted), f"shin{side}": ("x", kick * amplitude * lifted)}
            if dance_style == 1:
                curves |= {
                    f"arm{side}": ("x", -amplitude * (0.5 + 0.5 * sign * beat) * begun),
                    f"fore{side}": ("x", -1.6 * begun),
                }
            else:
                rise = 0.7 + 0.7 * sign * beat if dance_style == 0 else 2.2 + 0.3 * sign * beat
                curves |= {
                    f"arm{side}": ("z", sign * amplitude * rise * begun),
                    f"fore{side}": ("z", sign * 0.6 * amplitude * begun),
                }
        return curves

    def nod(phase: Tensor, amplitude: float) -> Curves:
        return {"head": ("x", 0.45 * amplitude * torch.sin(4 * math.pi * phase))}

    motions = {"walk": walk, "run": run, "jump": jump, "attack": attack, "dance": dance, "wave": wave, "nod": nod}
    return ProceduralBody(b.body(num_gaussians), b.names, motions)


def theropod(generator: torch.Generator, num_gaussians: int) -> ProceduralBody:
    """A level trunk on two three-part legs, long tail, head ahead: dinosaurs, hens. Walks, runs, jumps, bites, eats."""
    b = Builder(generator)
    coat, belly, dark = b.colors()
    leg, length, girth = b.uniform(0.6, 1.0), b.uniform(0.6, 1.0), b.uniform(0.16, 0.28)
    pitch = b.uniform(-0.1, 0.5)  # of the trunk, head up
    ahead = torch.tensor([0.0, math.sin(pitch), math.cos(pitch)])
    hips = torch.tensor([0.0, leg, 0.0])
    chest = hips + 0.6 * length * ahead
    b.joint("root", None, *hips.tolist())
    b.limb("root", hips - 0.15 * length * ahead, chest, girth, coat)
    b.limb("root", hips - torch.tensor([0.0, 0.3 * girth, 0.0]), chest, 0.85 * girth, belly)
    neck, rise, size = b.uniform(0.1, 0.45), b.uniform(0.1, 1.2), b.uniform(0.11, 0.22)
    top = chest + neck * torch.tensor([0.0, math.sin(rise), math.cos(rise)])
    b.joint("neck", "root", *chest.tolist())
    b.limb("neck", chest, top, b.uniform(0.4, 0.7) * girth, coat)
    b.joint("head", "neck", *top.tolist())
    muzzle = torch.tensor([0.0, b.uniform(-0.3, 0.1), 1.0]) * b.uniform(1.3, 2.4) * size
    b.limb("head", top, top + muzzle, 0.75 * size, coat)
    b.limb("head", top + 0.3 * muzzle, top + 1.1 * muzzle - torch.tensor([0.0, 0.4 * size, 0.0]), 0.45 * size, dark)
    back, droop = b.uniform(0.25, 0.55), b.uniform(-0.5, 0.3)
    along = torch.tensor([0.0, math.sin(droop - pitch), -math.cos(droop - pitch)])
    start = hips - 0.2 * length * ahead
    for k, name in enumerate(("tail", "tip")):
        b.joint(name, "root" if k == 0 else "tail", *start.tolist())
        b.limb(name, start, start + back * along, (0.55 - 0.25 * k) * girth, dark if k else coat)
        start = start + back * along
    thick, arms = b.uniform(0.06, 0.11), b.uniform(0.08, 0.3)
    for side, x in (("L", 0.75 * girth), ("R", -0.75 * girth)):
        hip, knee = torch.tensor([x, leg, 0.0]), torch.tensor([x, 0.55 * leg, 0.16 * leg])
        heel, toes = torch.tensor([x, 0.25 * leg, -0.08 * leg]), torch.tensor([x, 0.03, 0.1 * leg])
        b.joint(f"thigh{side}", "root", *hip.tolist())
        b.limb(f"thigh{side}", hip, knee, 1.5 * thick, coat)
        b.joint(f"shin{side}", f"thigh{side}", *knee.tolist())
        b.limb(f"shin{side}", knee, heel, thick, coat)
        b.joint(f"foot{side}", f"shin{side}", *heel.tolist())
        b.limb(f"foot{side}", heel, toes, 0.8 * thick, dark)
        b.limb(f"foot{side}", toes, toes + torch.tensor([0.0, 0.0, 0.12]), 0.9 * thick, dark)
        shoulder = chest + torch.tensor([0.9 * x, -0.3 * girth, 0.0])
        b.joint(f"arm{side}", "root", *shoulder.tolist())
        b.limb(f"arm{side}", shoulder, shoulder + arms * torch.tensor([0.0, -0.8, 0.6]), 0.6 * thick, dark)

    def stride(phase: Tensor, amplitude: float, swing: float, bob: float, sway: float) -> Curves:
        curves: Curves = {
            "up": ("y", bob * (1.0 - torch.cos(4 * math.pi * phase))),
            "tail": ("y", sway * amplitude * torch.sin(2 * math.pi * phase)),
            "tip": ("y", sway * amplitude * torch.sin(2 * math.pi * (phase - 0.15))),
            "neck": ("x", 0.1 * torch.cos(4 * math.pi * phase)),
        }
        for side, offset in (("L", 0.0), ("R", 0.5)):
            angle = 2 * math.pi * (phase - offset)
            lifted = torch.cos(angle).clamp(min=0.0)
            curves[f"thigh{side}"] = ("x", -swing * amplitude * torch.sin(angle))
            curves[f"shin{side}"] = ("x", 1.2 * swing * amplitude * lifted)
            curves[f"foot{side}"] = ("x", 0.6 * swing * amplitude * (torch.sin(angle) - lifted))
        return curves

    def walk(phase: Tensor, amplitude: float) -> Curves:
        return stride(phase, amplitude, 0.6, 0.015, 0.2)

    def run(phase: Tensor, amplitude: float) -> Curves:
        return stride(phase, amplitude, 0.95, 0.05, 0.12)

    def jump(phase: Tensor, amplitude: float) -> Curves:
        crouch, air = bump(phase, 0.0, 0.35) + bump(phase, 0.72, 1.0), bump(phase, 0.3, 0.75)
        curves: Curves = {
            "up": ("y", amplitude * 0.55 * air - 0.3 * leg * crouch),
            "root": ("x", 0.3 * crouch - 0.35 * air),
            "tail": ("x", 0.3 * air - 0.2 * crouch),
            "neck": ("x", -0.25 * crouch + 0.15 * air),
        }
        for side in "LR":
            curves |= {f"thigh{side}": ("x", -0.8 * crouch - 0.3 * air), f"shin{side}": ("x", 1.3 * crouch + 0.7 * air)}
            curves |= {f"foot{side}": ("x", 0.6 * air - 0.7 * crouch)}
        return curves

    def attack(phase: Tensor, amplitude: float) -> Curves:
        back, thrust = bump(phase, 0.1, 0.45), bump(phase, 0.4, 0.8)
        curves: Curves = {
            "ahead": ("z", amplitude * (0.2 * thrust - 0.12 * back) * length),
            "root": ("x", amplitude * (0.3 * thrust - 0.2 * back)),
            "neck": ("x", amplitude * (0.45 * thrust - 0.3 * back)),
            "head": ("x", 0.3 * (thrust - back)),
            "tail": ("x", 0.2 * (thrust - back)),
        }
        for side in "LR":  # the feet stay where they are
            curves |= {f"thigh{side}": ("x", amplitude * (0.1 * thrust + 0.05 * back))}
        return curves

    def eat(phase: Tensor, amplitude: float) -> Curves:
        down = plateau(phase)
        chew = 0.12 * torch.sin(10 * math.pi * phase) * down
        lean = 0.6 * amplitude * down
        curves: Curves = {"root": ("x", lean), "neck": ("x", amplitude * (0.3 + 0.5 * rise) * down + chew)}
        return curves | {f"thigh{side}": ("x", -lean) for side in "LR"}

    def nod(phase: Tensor, amplitude: float) -> Curves:
        return {
            "neck": ("x", 0.3 * amplitude * torch.sin(4 * math.pi * phase)),
            "head": ("x", 0.3 * amplitude * torch.sin(4 * math.pi * phase)),
        }

    motions = {"walk": walk, "run": run, "jump": jump, "attack": attack, "eat": eat, "nod": nod}
    return ProceduralBody(b.body(num_gaussians), b.names, motions)
