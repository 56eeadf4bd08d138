"""What can be measured of a rigged body: where it is, how large, whether it goes away, how it holds its arms."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from stages.skeletons.compact import turned
from stages.skeletons.rigged import RiggedFile
from stages.skeletons.skeleton import Pose, Skeleton, skin

MOVES_AWAY = 0.5
"""A body goes away whose middle goes further than this share of its longest side. [ours]"""

T_DEG, A_DEG = 20.0, 65.0
"""Arms that hang less than this below the horizontal stand for a T, or an A. [ours]"""


def posed(file: RiggedFile, pose: Pose, turn_deg: float = 0.0, vertices: Tensor | None = None) -> Tensor:
    """The vertices of a file, or some of them, in T frames of ``pose``, turned about +y: [T, V, 3]."""
    points, weights, skeleton = file.vertices, file.weights, file.skeleton
    if vertices is not None:
        points, weights = points[vertices], weights[vertices]
        used = weights.sum(0) > 0
        joints = [joint for joint, taken in zip(file.joints, used.tolist(), strict=True) if taken]
        skeleton = replace(skeleton, joints=joints, inverse_bind=file.inverse_bind[used])
        weights = weights[:, used]
    return skin(points, weights, skeleton.joint_matrices(turned(file, turn_deg, pose)))


def size(vertices: Tensor) -> float:
    """The longest side of the box around the first of frames [T, V, 3]."""
    return float((vertices[0].amax(0) - vertices[0].amin(0)).amax())


def moves_away(vertices: Tensor, length: float) -> bool:
    """Whether the middle of frames [T, V, 3] goes far along the ground for a body of this length."""
    middle = vertices.mean(dim=1)[:, [0, 2]]
    return float((middle - middle[0]).norm(dim=-1).amax()) > MOVES_AWAY * length


def arm_pose(file: RiggedFile, turn_deg: float = 0.0) -> str:
    """How a biped that faces +z holds its arms in the file's own pose: "T", "A", or "bind" for neither."""
    angle = arm_angle_deg(file, turn_deg)
    return "T" if abs(angle) < T_DEG else "A" if 0.0 < angle < A_DEG else "bind"


def arm_angle_deg(file: RiggedFile, turn_deg: float = 0.0) -> float:
    """How far a biped's left arm hangs below the horizontal in the file's own pose: 0 is a T, 90 is straight down.

    The hand is the node farthest to the left, the shoulder the last node above it that is left of a third of that.
    """
    nodes = list(range(len(file.parents)))
    rough = Skeleton(parents=file.parents, joints=nodes, inverse_bind=torch.eye(4), world=torch.eye(4))
    places = rough.joint_matrices(turned(file, turn_deg, file.bind_local))[0, :, :3, 3]
    places = places - places.mean(0) * torch.tensor([1.0, 0.0, 0.0])
    node = hand = int(places[:, 0].argmax())
    while file.parents[node] >= 0 and float(places[file.parents[node], 0]) > float(places[hand, 0]) / 3.0:
        node = file.parents[node]
    arm = places[hand] - places[node]
    return math.degrees(math.atan2(-float(arm[1]), math.hypot(float(arm[0]), float(arm[2]))))
