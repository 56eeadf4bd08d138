"""The motion of a rig as BVH (Biovision Hierarchy), which has joints and their turns, and no surface.

Turns are three angles in the order Z, X, Y, each in the axes that the one before left: ``R = Rz Rx Ry``. The root's
offset is 0 and its position is in its channels: readers do not agree on whether these are added to the offset.
"""

from __future__ import annotations

import re

import numpy as np
from torch import Tensor

from stages.errors import BadInput
from stages.meshes.gltf import Array
from stages.skeletons.rig import Joints, local_rotations

POSITION, ROTATION = "Xposition Yposition Zposition", "Zrotation Xrotation Yrotation"


def bvh_text(joints: Joints, matrices: Tensor, fps: int) -> str:
    """The file.

    Args:
        joints: in the units that the file shall have.
        matrices: [T, J, 4, 4] of each joint, from the world at rest to the world, as ``forward_kinematics`` gives them:
            bones keep their lengths.
        fps: frames a second.

    Raises:
        BadInput: no frames, or an ``fps`` below 1.
    """
    if len(matrices) < 1 or fps < 1:
        raise BadInput("A BVH file needs at least one frame, and one frame a second.")
    assert matrices.shape[1:] == (len(joints), 4, 4)
    heads = joints.heads.detach().cpu().double()
    moves = matrices.detach().cpu().double()
    root = moves[:, 0, :3, :3] @ heads[0] + moves[:, 0, :3, 3]
    turns = local_rotations(joints.parents, moves[..., :3, :3])
    angles = _angles_deg(turns.numpy())  # [T, J, 3]
    order = _depth_first(joints)
    rows = np.concatenate([root.numpy(), angles[:, order].reshape(len(moves), -1)], axis=1)
    lines = ["HIERARCHY", *_hierarchy(joints, 0, _plain_names(joints.names), 0)]
    lines += ["MOTION", f"Frames: {len(rows)}", f"Frame Time: {1.0 / fps:.8f}"]
    lines += [_numbers(row) for row in rows]
    return "\n".join(lines) + "\n"


def _hierarchy(joints: Joints, joint: int, names: list[str], depth: int) -> list[str]:
    """The lines of a joint and those below it."""
    pad, parent, children = "\t" * depth, joints.parents[joint], joints.children(joint)
    heads, tails = joints.heads.detach().cpu().double().numpy(), joints.tails.detach().cpu().double().numpy()
    offset = np.zeros(3) if parent < 0 else heads[joint] - heads[parent]
    channels = f"6 {POSITION} {ROTATION}" if parent < 0 else f"3 {ROTATION}"
    lines = [f"{'ROOT' if parent < 0 else 'JOINT'} {names[joint]}", "{"]
    lines += [f"\tOFFSET {_numbers(offset)}", f"\tCHANNELS {channels}"]
    lines = [pad + line for line in lines]
    for child in children:
        lines += _hierarchy(joints, child, names, depth + 1)
    if not children:
        tip = ["End Site", "{", f"\tOFFSET {_numbers(tails[joint] - heads[joint])}", "}"]
        lines += [f"{pad}\t{line}" for line in tip]
    return [*lines, pad + "}"]


def _depth_first(joints: Joints) -> list[int]:
    """The joints as ``_hierarchy`` lists them."""
    order, stack = [], [0]
    while stack:
        order.append(stack.pop())
        stack += reversed(joints.children(order[-1]))
    return order


def _plain_names(names: tuple[str, ...]) -> list[str]:
    """Names without blanks and brackets, which end a name in a BVH file, and no two alike."""
    plain: list[str] = []
    for name in names:
        base = re.sub(r"[\s{}]+", "_", name) or "joint"
        free, number = base, 2
        while free in plain:
            free, number = f"{base}_{number}", number + 1
        plain.append(free)
    return plain


def _angles_deg(turns: Array) -> Array:
    """Angles [T, J, 3] about Z, X and Y of rotations [T, J, 3, 3]; each frame's are those nearest to the frame before,
    so that readers may interpolate them."""
    z = np.arctan2(-turns[..., 0, 1], turns[..., 1, 1])
    cz, sz = np.cos(z)[..., None], np.sin(z)[..., None]
    first, second = cz * turns[..., 0, :] + sz * turns[..., 1, :], cz * turns[..., 1, :] - sz * turns[..., 0, :]
    x, y = np.arctan2(turns[..., 2, 1], second[..., 1]), np.arctan2(first[..., 2], first[..., 0])  # of Rz^T R = Rx Ry
    angles = np.rad2deg(np.stack([z, x, y], axis=-1))
    for t in range(1, len(angles)):
        before = angles[t - 1]
        one = angles[t]
        other = np.stack([one[..., 0] + 180.0, 180.0 - one[..., 1], one[..., 2] + 180.0], axis=-1)  # the same rotation
        one, other = (a - 360.0 * np.round((a - before) / 360.0) for a in (one, other))
        nearer = np.abs(one - before).sum(-1) <= np.abs(other - before).sum(-1)
        angles[t] = np.where(nearer[..., None], one, other)
    return angles


def _numbers(values: Array) -> str:
    return " ".join(f"{value:.9g}" for value in values)
