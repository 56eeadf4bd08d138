"""How much of a limb's cross-section linear blend skinning leaves when the limb is twisted: the candy wrapper.

Between two bones that are twisted against each other by an angle ``a``, a vertex that follows each by half lies at
``cos(a / 2)`` of its distance from the axis, and the cross-section keeps the square of that. So 90 degrees at one
joint leave half; the same spread evenly over three joints, 30 degrees each, leaves 93 %.

Measured on a tube of radius 0.3 and length 2, what 90 degrees leave of the cross-section:

===================  ==========  =========  ==========  =========
weights              one joint              three joints
-------------------  ---------------------  ---------------------
                     thinnest    mean       thinnest    mean
===================  ==========  =========  ==========  =========
linear               0.500       0.836      0.933       0.967
bone heat            0.500       0.830      0.890       0.924
===================  ==========  =========  ==========  =========

Heat spreads over more than two bones, so that its three joints do a little worse than linear weights.

    python -m tests.bench.twist
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stages.geometry.rotations import quaternion_matrices
from stages.skeletons.bone_heat import bone_heat
from stages.skeletons.rig import Joints, forward_kinematics
from stages.skeletons.skeleton import skin
from tests.skeletons.test_bone_heat import tube

RINGS, AROUND, LENGTH = 81, 32, 2.0


def chain(num_joints: int) -> Joints:
    """Along the tube: a root, and ``num_joints`` joints above it, evenly spaced."""
    cuts = torch.linspace(0.0, LENGTH, num_joints + 2)
    heads, tails = (torch.stack([0.0 * y, y, 0.0 * y], dim=1) for y in (cuts[:-1], cuts[1:]))
    return Joints(
        names=tuple(f"bone_{k}" for k in range(num_joints + 1)), parents=tuple(range(-1, num_joints)), heads=heads,
        tails=tails, limits_deg=(None,) * (num_joints + 1),
    )  # fmt: skip


def linear_weights(vertices: Tensor, joints: Joints) -> Tensor:
    """[V, J]: those of neighbours change over linearly around their joint, over half a bone on either side."""
    bone = LENGTH / len(joints)
    middles = bone * (0.5 + torch.arange(len(joints)))
    shares = (1.0 - (vertices[:, 1:2] - middles).abs() / bone).clamp(min=0.0)
    return shares / shares.sum(dim=1, keepdim=True)


def kept_sections(twist_deg: float, num_joints: int, *, heat: bool) -> Tensor:
    """Of each ring of the tube the share of its cross-section that is left, [R], where ``twist_deg`` in all is spread
    evenly over ``num_joints`` joints. ``heat``: with the weights of bone heat, else linear ones."""
    vertices, faces = tube(RINGS, AROUND)
    joints = chain(num_joints)
    weights = bone_heat(vertices, faces, joints) if heat else linear_weights(vertices, joints)
    half = 0.5 * math.radians(twist_deg / num_joints)
    turn = quaternion_matrices(torch.tensor([math.cos(half), 0.0, math.sin(half), 0.0]))
    rotations = torch.cat([torch.eye(3)[None], turn.expand(num_joints, 3, 3)])[None]
    matrices = forward_kinematics(joints.parents, joints.heads, rotations, torch.zeros(1, 3))
    moved = skin(vertices, weights, matrices)[0]
    return _areas(moved) / _areas(vertices)


def _areas(vertices: Tensor) -> Tensor:
    """The area of each ring of a tube seen along it, [R]."""
    x, _, z = vertices[: RINGS * AROUND].reshape(RINGS, AROUND, 3).unbind(dim=-1)
    return 0.5 * (x * z.roll(-1, dims=1) - z * x.roll(-1, dims=1)).sum(dim=1).abs()


if __name__ == "__main__":
    for heat in (False, True):
        for num_joints in (1, 3):
            kept = kept_sections(90.0, num_joints, heat=heat)
            print(
                f"{'heat' if heat else 'linear'}, {num_joints} joints: {float(kept.min()):.4f}, mean {kept.mean():.4f}"
            )
