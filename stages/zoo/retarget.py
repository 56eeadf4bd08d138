"""A person's motion on another person's body: clips carried over between skeletons of upright bodies with two arms.

Bones are told by the names that people and programs give them (``UpperArm.L``, ``LeftForeArm``, ``upperleg.l``). Each
bone of the other body points where the first body's does at that moment, turned about itself as that one turned since
it stood at rest; hips move in proportion to how high they are. What has no counterpart follows its parent. Feet that
hang on handles of their own, away from the leg, are taken to be at its end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from stages.geometry.rotations import continuous_quaternions, matrix_quaternions, quaternion_matrices
from stages.skeletons.rigged import RiggedFile
from stages.skeletons.skeleton import Pose, Skeleton, skin

LIMBS = (("upper arm", "lower arm", "hand"), ("upper leg", "lower leg", "foot"))
"""From the trunk outwards."""

NAMES = {
    "upper arm": r"upper_?arm|arm",
    "lower arm": r"lower_?arm|fore_?arm",
    "hand": r"hand|wrist|palm|fist",
    "upper leg": r"upper_?leg|up_?leg|thigh",
    "lower leg": r"lower_?leg|leg|calf|shin",
    "foot": r"foot",
    "head": r"head",
}
"""What bones are called, without their side."""

SIDES = {"left": r"^left|[._ ]l$", "right": r"^right|[._ ]r$"}


@dataclass(frozen=True)
class Upright:
    """A body whose bones are known, at rest."""

    file: RiggedFile
    rest: Pose
    bones: dict[str, int]  # "left upper arm" -> node

    @staticmethod
    def of(file: RiggedFile, rest: Pose) -> Upright | None:
        """The body of ``file``; None where it lacks an arm, a leg or a head by name."""
        bones: dict[str, int] = {}
        for node in file.joints:
            name = file.names[node].lower()
            side = next((side for side, form in SIDES.items() if re.search(form, name)), "")
            plain = re.sub("|".join(SIDES.values()), "", name).strip("._ ")
            for bone, form in NAMES.items():
                if bool(side) != (bone == "head") and re.fullmatch(form, plain):
                    bones.setdefault(f"{side} {bone}".strip(), node)
        paired = {f"{side} {bone}" for limb in LIMBS for bone in limb for side in SIDES}
        if not {"head", *paired} - {"left hand", "right hand"} <= set(bones):  # some have fingers alone
            return None
        bones["chest"] = _shared(file, bones["left upper arm"], bones["right upper arm"])
        bones["hips"] = _shared(file, _shared(file, bones["left upper leg"], bones["right upper leg"]), bones["chest"])
        apart = bones["hips"] >= 0 and bones["chest"] not in (bones["hips"], bones["head"])
        return Upright(file, rest, bones) if apart else None

    @cached_property
    def parents(self) -> list[int]:
        """Of each node [J]; of a foot the lower leg."""
        parents = list(self.file.parents)
        for side in SIDES:
            parents[self.bones[f"{side} foot"]] = self.bones[f"{side} lower leg"]
        return parents

    @cached_property
    def order(self) -> list[int]:
        """Nodes, each after its parent."""
        order: list[int] = []

        def visit(node: int) -> None:
            if node >= 0 and node not in order:
                visit(self.parents[node])
                order.append(node)

        for node in range(len(self.parents)):
            visit(node)
        return order

    @cached_property
    def standing(self) -> Tensor:
        """Where each node is at rest, [J, 4, 4]."""
        return nodes_in(self.file, self.rest)[0]

    def direction(self, bone: str) -> Tensor | None:
        """Where a limb's bone points at rest, [3]; None of what is no limb, or has no end."""
        side, _, name = bone.partition(" ")
        limb = next((limb for limb in LIMBS if name in limb[:2]), None)
        if limb is None:
            return None
        node, end = self.bones[bone], self.bones.get(f"{side} {limb[limb.index(name) + 1]}")
        ends = [child for child, parent in enumerate(self.parents) if parent == node] if end is None else [end]
        return self.standing[ends, :3, 3].mean(dim=0) - self.standing[node, :3, 3] if ends else None


class Retargeting:
    """Carries poses of one upright body over to another, in which both face the same way.

    Args:
        source, target: the bodies.
    """

    def __init__(self, source: Upright, target: Upright) -> None:
        self.source, self.target = source, target
        self.aligned = {bone: _aligned(source, target, bone) for bone in target.bones if bone in source.bones}
        self.size = _height(target) / _height(source)

    def __call__(self, poses: Pose) -> Pose:
        """``poses`` [T] of the source as poses of the target."""
        source, target = self.source, self.target
        moved = nodes_in(source.file, poses)  # [T, J, 4, 4]
        turns = {
            bone: _rotations(moved[:, source.bones[bone]])
            @ _rotations(source.standing[source.bones[bone]]).mT
            @ aligned
            for bone, aligned in self.aligned.items()
        }
        of_node = {node: turns[bone] for bone, node in target.bones.items() if bone in turns}
        between = self._spine()
        halfway = _mean(turns["hips"], turns["chest"])
        of_node |= dict.fromkeys(between, halfway)
        hips, own_hips = source.bones["hips"], target.bones["hips"]
        step = self.size * (moved[:, hips, :3, 3] - source.standing[hips, :3, 3])

        turn: dict[int, Tensor] = {}
        place: dict[int, Tensor] = {}
        still = torch.eye(3).expand(len(moved), 3, 3)
        for node in target.order:
            parent, rest = target.parents[node], target.standing[node, :3, 3]
            if parent < 0:
                place[node] = rest.expand(len(moved), 3)
            else:
                place[node] = place[parent] + turn[parent] @ (rest - target.standing[parent, :3, 3])
            if node == own_hips:
                place[node] = place[node] + step
            turn[node] = of_node.get(node, still if parent < 0 else turn[parent])
        return self._local(turn, place)

    def _spine(self) -> list[int]:
        """Nodes between hips and chest."""
        node, found = self.target.parents[self.target.bones["chest"]], []
        while node != self.target.bones["hips"]:
            found.append(node)
            node = self.target.parents[node]
        return found

    def _local(self, turn: dict[int, Tensor], place: dict[int, Tensor]) -> Pose:
        """Local transforms of turns since rest [T, 3, 3] and places [T, 3] of all nodes."""
        target = self.target
        translations, rotations = [], []
        for node, parent in enumerate(target.file.parents):
            now = turn[node] @ _rotations(target.standing[node])
            if parent < 0:
                translations.append(place[node])
                rotations.append(now)
                continue
            linear = turn[parent] @ target.standing[parent, :3, :3]
            translations.append(torch.linalg.solve(linear, place[node] - place[parent]))
            rotations.append(_rotations(linear).mT @ now)
        quats = continuous_quaternions(matrix_quaternions(torch.stack(rotations, dim=1)))
        return Pose(torch.stack(translations, dim=1), quats, target.rest.scales.expand(len(quats), -1, -1))


def nodes_in(file: RiggedFile, poses: Pose) -> Tensor:
    """Where each node is in ``poses`` of T frames, [T, J, 4, 4], in the file's coordinates."""
    everything = list(range(len(file.parents)))
    return Skeleton(
        parents=file.parents, joints=everything, inverse_bind=torch.eye(4), world=torch.eye(4)
    ).joint_matrices(poses)


def _shared(file: RiggedFile, first: int, second: int) -> int:
    """The nearest node above both, or one of them; -1 where there is none."""
    above = {-1}
    while first >= 0:
        above.add(first)
        first = file.parents[first]
    while second not in above:
        second = file.parents[second]
    return second


def _rotations(matrices: Tensor) -> Tensor:
    """Rotations [..., 3, 3] of transforms [..., 4, 4] or [..., 3, 3] without shear."""
    return quaternion_matrices(matrix_quaternions(matrices[..., :3, :3]))


def _height(body: Upright) -> float:
    """Of the hips above the ground."""
    ground = skin(body.file.vertices, body.file.weights, body.file.skeleton.joint_matrices(body.rest))[0, :, 1].amin()
    return float((body.standing[body.bones["hips"], 1, 3] - ground).clamp(min=1e-6))


def _aligned(source: Upright, target: Upright, bone: str) -> Tensor:
    """The shortest rotation [3, 3] that lays the target's bone at rest along the source's; a hand's as its forearm's.
    Trunk, head and feet stand alike in both."""
    name = bone.replace("hand", "lower arm")
    ours, theirs = target.direction(name), source.direction(name)
    if ours is None or theirs is None:
        return torch.eye(3)
    a, b = (torch.nn.functional.normalize(one, dim=0) for one in (ours, theirs))
    quat = torch.cat([(1.0 + a @ b).clamp(min=1e-6)[None], torch.linalg.cross(a, b)])
    return quaternion_matrices(torch.nn.functional.normalize(quat, dim=0))


def _mean(first: Tensor, second: Tensor) -> Tensor:
    """Rotations [T, 3, 3] halfway between two."""
    a, b = matrix_quaternions(first), matrix_quaternions(second)
    b = torch.where((a * b).sum(dim=-1, keepdim=True) < 0.0, -b, b)
    return quaternion_matrices(torch.nn.functional.normalize(a + b, dim=-1))
