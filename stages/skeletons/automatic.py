"""Joints found from a body's surface alone: along its curve skeleton, with names that a person knows where they fit."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from stages.errors import BadInput
from stages.skeletons.bone_heat import checked_mesh, weld
from stages.skeletons.curve_skeleton import FIELD, curve_skeleton
from stages.skeletons.limbs import Facing, Limb, facing_of, limbs_from, prune, resampled, without_fingers
from stages.skeletons.rig import Joints
from stages.skeletons.roles import give_roles, root_of

Array = np.ndarray[Any, Any]

MOST_JOINTS = 30
MOST_LIMBS = 14
"""A thing with more is a plant."""
MOST_NAMELESS = 4
"""With more limbs that are no leg, arm, ear or tail, most of them are folds of fins."""
STAND_OUT = (0.035, 0.05, 0.07, 0.1, 0.15)
"""By how much of the diagonal a branch stands out to be a limb; the next is tried where there are too many."""
BONE = (0.13, 0.17)
"""Length of a bone over the diagonal."""
LEAST_LENGTH = 0.6
"""A curve shorter than this share of the diagonal has nothing to bend."""
INSIDE = 0.6
"""A limb's first joint lies this many radii of the trunk away from the trunk's middle."""
TRUNK = ("spine", "neck", "head")
EVEN = 0.01
"""How much bones of the same length count against bones that follow the line."""


def find_joints(vertices: Tensor, faces: Tensor, *, facing_deg: float = 0.0) -> Joints:
    """At most 30 joints in the body whose surface is ``vertices`` [V, 3], ``faces`` [F, 3], y up; leaves end at tips.

    Args:
        facing_deg: where the body faces, degrees about +y from +z towards +x: which side is its left, which legs are
            the front ones. What mirrors in the plane that this gives is made symmetric.

    Raises:
        BadInput: no face; a number that is not finite; several bodies; nothing to bend, or no end of limbs.
    """
    places, _, triangles = weld(*checked_mesh(vertices, faces))
    diagonal = float(np.linalg.norm(np.ptp(places, axis=0)))
    facing = facing_of(places, facing_deg)
    curve = curve_skeleton(places, triangles, facing.mirrored)
    for least in STAND_OUT:
        prune(curve, least * diagonal, facing)
        tree = curve.copy()
        without_fingers(tree, facing, diagonal)
        limbs = _limbs(tree, facing, diagonal, places)
        if sum(limb.length for limb in limbs) < LEAST_LENGTH * diagonal:
            raise BadInput("The body has neither limbs nor a length that could bend.", FIELD)
        tips = [limb.role for limb in limbs if limb.tip]
        folds = tips.count("limb") > MOST_NAMELESS and "leg" not in tips and least < STAND_OUT[-1]
        if len(tips) > MOST_LIMBS or folds:
            continue
        for bone in BONE:
            bones = _bones(limbs, bone * diagonal)
            if len(bones) <= MOST_JOINTS:
                return _joints(bones, vertices)
    raise BadInput("The body has more limbs than a skeleton of 30 joints can move.", FIELD)


@dataclass(frozen=True)
class Bone:
    """A joint and its bone; ``parent`` is the position of another, -1 of the first."""

    name: str
    parent: int
    head: Array
    tail: Array


def _limbs(tree: nx.Graph, facing: Facing, diagonal: float, places: Array) -> list[Limb]:
    """The limbs with their roles, the trunk's first."""
    low, high = float(places[:, 1].min()), float(places[:, 1].max())
    root = root_of(tree, facing, low, high, diagonal)
    limbs = limbs_from(tree, root)
    give_roles(limbs, facing, diagonal, low, high)
    return sorted(limbs, key=lambda limb: TRUNK.index(limb.role) if limb.role in TRUNK else len(TRUNK))


def _bones(limbs: list[Limb], length: float) -> list[Bone]:
    """The bones of all limbs, parents first. The first one starts at the root, and what starts there hangs on it."""
    bones: list[Bone] = []
    last: dict[int, int] = {}  # of each fork the bone that ends there
    waiting = list(limbs)
    counts: dict[str, int] = {}
    root = limbs[0].start
    while waiting:
        limb = next(limb for limb in waiting if limb.start == root or limb.start in last)
        waiting.remove(limb)
        first = not bones
        parent = -1 if first else last.get(limb.start, 0)
        line = limb.line if first or limb.role in TRUNK else _outside(limb)
        most, least = {"leg": (4, 2), "arm": (4, 2)}.get(limb.role, (8, 1))
        along = float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())
        num = min(most, max(least, round(along / length)))
        if limb.role == "leg" and along > 1.5 * length:
            num = max(num, 3)
        if limb.role == "head" and limb.number:  # no neck before it
            num = max(num, 1 + limb.number)
        ends = _split(line, num)
        for k in range(num):
            name = _name(limb, k, num, counts, first)
            bones.append(Bone(name, parent, ends[k], ends[k + 1]))
            parent = len(bones) - 1
            first = False
        last[limb.end] = parent
    return _with_known_single_names(bones)


def _outside(limb: Limb) -> Array:
    """A limb's line from where it leaves the trunk."""
    away = np.linalg.norm(limb.line - limb.line[0], axis=1)
    start = int(np.argmax(away > INSIDE * limb.radius))
    start = min(start, int(0.35 * len(limb.line)))
    return resampled(limb.line[start:])


def _split(line: Array, num: int) -> Array:
    """Joints [num + 1, 3] along a line: at its bends, else evenly."""
    points = resampled(line, 25 if num <= 4 else 8 * num + 1)
    if num > 4:
        return points[::8]
    size = len(points) - 1
    miss = np.zeros((size + 1, size + 1))
    length = max(float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum()), 1e-12)
    for a in range(size):
        for b in range(a + 1, size + 1):
            along = points[b] - points[a]
            unit = along / max(float(np.linalg.norm(along)), 1e-12)
            off = points[a : b + 1] - points[a]
            off = off - (off @ unit)[:, None] * unit
            miss[a, b] = (off**2).sum() / length**2 / size + EVEN * ((b - a) / size - 1.0 / num) ** 2
    best = min(
        (cuts for cuts in combinations(range(3, size - 2), num - 1) if _apart(cuts)),
        key=lambda cuts: sum(miss[a, b] for a, b in zip((0, *cuts), (*cuts, size), strict=True)),
    )
    return points[[0, *best, size]]


def _apart(cuts: tuple[int, ...]) -> bool:
    """No bone of a split is shorter than an eighth of the line."""
    return all(b - a >= 3 for a, b in pairwise(cuts))


def _name(limb: Limb, k: int, num: int, counts: dict[str, int], first: bool) -> str:
    """The name of the ``k``-th of ``num`` bones of a limb."""
    role = limb.role
    if role == "head":
        role = "spine" if first else "head" if k == num - 1 else "neck"
    if role in (*TRUNK, "tail"):
        counts[role] = counts.get(role, 0) + 1
        return f"{role}_{counts[role]}"
    side = {1: "left_", -1: "right_", 0: ""}[limb.pair]
    place = f"{limb.place}_" if limb.place else ""
    number = f"_{limb.number}" if limb.number else ""
    return f"{place}{side}{role}{number}_{k + 1}"


def _with_known_single_names(bones: list[Bone]) -> list[Bone]:
    """ "neck" and "head" for what there is only one of."""
    names = [bone.name for bone in bones]
    for role in ("neck", "head"):
        if f"{role}_2" not in names:
            names = [role if name == f"{role}_1" else name for name in names]
    return [Bone(name, bone.parent, bone.head, bone.tail) for name, bone in zip(names, bones, strict=True)]


def _joints(bones: list[Bone], like: Tensor) -> Joints:
    """As the rig has them."""
    return Joints(
        names=tuple(bone.name for bone in bones),
        parents=tuple(bone.parent for bone in bones),
        heads=torch.from_numpy(np.stack([bone.head for bone in bones])).to(like),
        tails=torch.from_numpy(np.stack([bone.tail for bone in bones])).to(like),
        limits_deg=(None,) * len(bones),
    )
