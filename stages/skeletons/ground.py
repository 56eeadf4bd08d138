"""The ground under a skeleton: how deep its bones reach below a plane, as a penalty (AKD, section 4: Li et al. 2025).

Each bone is stood for by the cuboid, turned along the bone, around the part of the skin that it owns. Corners of
cuboids are few, and the lowest point of a cuboid is always one of them. (The simulator's boxes, of ``physics_model``,
have the world's axes at rest: they are stouter, as bodies that bump need to be.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.skeletons.rig import Rig

OWNED = 0.5
"""A bone owns the vertices that follow it by this weight or more."""


def slim_cuboids(rig: Rig) -> Tensor:
    """Corners [J, 8, 3] at rest of the cuboid of each bone; a bone that owns no skin has its own line in its place."""
    joints, skin = rig.joints, rig.skin
    assert skin.weights.shape == (len(skin.vertices), len(joints)), "a weight of each vertex for each joint"
    cuboids = []
    for joint in range(len(joints)):
        head, tail = joints.heads[joint], joints.tails[joint]
        axes = _axes(tail - head)
        owned = skin.vertices[skin.weights[:, joint] >= OWNED]
        points = owned if len(owned) else torch.stack([head, tail])
        along = (points - head) @ axes.T
        ends = torch.stack([along.amin(dim=0), along.amax(dim=0)])  # [2, 3]
        corners = torch.cartesian_prod(ends[:, 0], ends[:, 1], ends[:, 2])
        cuboids.append(head + corners @ axes)
    return torch.stack(cuboids)


def moved_corners(cuboids: Tensor, matrices: Tensor) -> Tensor:
    """Corners ``cuboids`` [J, 8, 3] where bones have taken them: [T, 8 J, 3]. Differentiable.

    Args:
        matrices: [T, J, 4, 4] as of ``forward_kinematics``.
    """
    num_joints = cuboids.shape[0]
    assert cuboids.shape == (num_joints, 8, 3) and matrices.shape[1:] == (num_joints, 4, 4)
    turned = torch.einsum("tjab,jcb->tjca", matrices[..., :3, :3], cuboids)
    return (turned + matrices[..., None, :3, 3]).flatten(1, 2)


def penetration(corners: Tensor, height: float) -> Tensor:
    """How deep ``corners`` [T, K, 3] are below the plane ``y = height``: the mean over all of them, a scalar, where
    those above count 0. Differentiable."""
    assert corners.dim() == 3 and corners.shape[-1] == 3
    return (height - corners[..., 1]).clamp(min=0.0).mean()


def _axes(along: Tensor) -> Tensor:
    """Rows [3, 3] of a frame whose first axis is ``along`` [3]; the axes of the world where that has no length."""
    world = torch.eye(3).to(along)
    length = along.norm()
    if length < 1e-12:
        return world
    first = along / length
    beside = torch.linalg.cross(first, world[int(first.abs().argmin())])
    second = beside / beside.norm()
    return torch.stack([first, second, torch.linalg.cross(first, second)])
