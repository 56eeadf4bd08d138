"""A body for the physics: one cuboid a bone, how heavy each is, and how strong its joints and the ground are.

Everything is in metres, kilograms and seconds; the body weighs 1 kg and the longest side of its box is 1 m.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.skeletons.rig import Joints

MASS_FLOOR = 0.02
"""Least share of the body's mass that a bone has, before all are brought to the sum 1. [ours]"""

INERTIA_FLOOR = 0.1
"""A bone's own inertia is at least this share of that of all that hangs on its joint. [ours]"""

THINNEST = 0.01
"""Least half extent of a cuboid, as a share of the longest side of the body."""

GRAVITY = 9.81


@dataclass(frozen=True, kw_only=True)
class Cuboids:
    """A box around each bone; at rest its sides are along the axes of the world.

    Args:
        centres, halves: [J, 3] middle and half extents.
    """

    centres: Tensor
    halves: Tensor

    def corners(self) -> Tensor:
        """[J, 8, 3] from each centre, in the axes of the bone."""
        signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3).to(self.halves)
        return signs * self.halves[:, None]

    def posed(self, matrices: Tensor) -> Tensor:
        """Corners [T, J, 8, 3] in the world, of bones that have moved by ``matrices`` [T, J, 4, 4] since rest."""
        points = self.centres[:, None] + self.corners()
        return torch.einsum("tjab,jcb->tjca", matrices[..., :3, :3], points) + matrices[:, :, None, :3, 3]


def bone_cuboids(joints: Joints, vertices: Tensor | None = None, weights: Tensor | None = None) -> Cuboids:
    """The box of each bone: around the vertices [V, 3] whose largest weight [V, J] is its own; around head and tail
    where it owns fewer than four, or none are given."""
    ends = torch.stack([joints.heads, joints.tails])  # [2, J, 3]
    low, high = ends.amin(dim=0), ends.amax(dim=0)
    size = float((high.amax(dim=0) - low.amin(dim=0)).max())
    thick = 0.15 * (joints.tails - joints.heads).norm(dim=-1, keepdim=True)
    low, high = low - thick, high + thick
    if vertices is not None and weights is not None:
        size = float((vertices.amax(dim=0) - vertices.amin(dim=0)).max())
        owner = weights.argmax(dim=1)
        for joint in range(len(joints)):
            own = vertices[owner == joint]
            if len(own) >= 4:
                low[joint], high[joint] = own.amin(dim=0), own.amax(dim=0)
    return Cuboids(centres=0.5 * (low + high), halves=(0.5 * (high - low)).clamp(min=THINNEST * size))


@dataclass(frozen=True, kw_only=True)
class BodyModel:
    """What the simulation needs to know of a body of J bones, in metres and kilograms.

    Args:
        parents: of each bone, -1 of the root.
        heads: [J, 3] joints at rest.
        cuboids: of each bone; a bone's centre of mass is the centre of its cuboid.
        masses: [J]. inertias: [J, 3, 3] about the centre, in the axes of the bone.
        stiffness, damping: [J] of the motors (PD gains) in N m / rad and N m s / rad.
        attach_stiffness, attach_damping: of what holds two bones together at a joint.
        scale: metres per unit of the asset.
    """

    parents: tuple[int, ...]
    heads: Tensor
    cuboids: Cuboids
    masses: Tensor
    inertias: Tensor
    stiffness: Tensor
    damping: Tensor
    attach_stiffness: float
    attach_damping: float
    scale: float

    @property
    def height(self) -> float:
        """Of the body at rest, in metres."""
        low, high = self.cuboids.centres - self.cuboids.halves, self.cuboids.centres + self.cuboids.halves
        return float(high[:, 1].max() - low[:, 1].min())


def body_model(joints: Joints, cuboids: Cuboids, *, motor_hz: float, substep_s: float) -> BodyModel:
    """The body of ``joints`` with ``cuboids`` (in the asset's units).

    A motor is a spring and a damper with the natural frequency ``motor_hz``, critically damped, for the inertia of all
    that hangs on its joint. What ``substep_s`` cannot follow is made weaker: an explicit step is stable while
    ``damping / inertia < 1 / substep_s``.
    """
    low = (cuboids.centres - cuboids.halves).amin(dim=0)
    high = (cuboids.centres + cuboids.halves).amax(dim=0)
    scale = 1.0 / float((high - low).max())
    scaled = Cuboids(centres=cuboids.centres.double() * scale, halves=cuboids.halves.double() * scale)
    heads = joints.heads.double() * scale
    masses = scaled.halves.prod(dim=1)
    masses = (masses / masses.sum()).clamp(min=MASS_FLOOR)
    masses = masses / masses.sum()
    inertias, subtree = _inertias(joints.parents, heads, scaled, masses)
    own = torch.linalg.eigvalsh(inertias)[:, 0]
    angular = 2.0 * math.pi * motor_hz
    stiffness, damping = angular**2 * subtree, 2.0 * angular * subtree
    for joint, parent in enumerate(joints.parents):
        if parent >= 0:
            reduced = 1.0 / (1.0 / own[joint] + 1.0 / own[parent])
            share = float((reduced / substep_s / 2.0 / damping[joint]).clamp(max=1.0))
            damping[joint] *= share
            stiffness[joint] *= share
    fastest = _fastest(joints.parents, heads, scaled.centres, masses, inertias)
    return BodyModel(
        parents=tuple(joints.parents),
        heads=heads,
        cuboids=scaled,
        masses=masses,
        inertias=inertias,
        stiffness=stiffness,
        damping=damping,
        attach_stiffness=0.8 / (substep_s**2 * fastest),
        attach_damping=0.8 / (substep_s * fastest),
        scale=scale,
    )


def _inertias(parents: Sequence[int], heads: Tensor, cuboids: Cuboids, masses: Tensor) -> tuple[Tensor, Tensor]:
    """Of each bone about its centre [J, 3, 3], and of all that hangs on its joint, about the joint [J] (mean over the
    axes); the first is at least ``INERTIA_FLOOR`` of the second."""
    squares = cuboids.halves.square()
    eye = torch.eye(3, dtype=masses.dtype)
    solid = masses[:, None] / 3.0 * (squares.sum(dim=1, keepdim=True) - squares)
    own = torch.diag_embed(solid)
    subtree = torch.zeros_like(masses)
    for bone in range(len(parents)):
        joint = bone
        while joint >= 0:
            away = (cuboids.centres[bone] - heads[joint]).square().sum()
            subtree[joint] += solid[bone].mean() + 2.0 / 3.0 * masses[bone] * away
            joint = parents[joint]
    missing = (INERTIA_FLOOR * subtree - solid.amin(dim=1)).clamp(min=0.0)
    return own + missing[:, None, None] * eye, subtree


def _fastest(parents: Sequence[int], heads: Tensor, centres: Tensor, masses: Tensor, inertias: Tensor) -> float:
    """The largest eigenvalue of ``M^-1 A^T A``, where ``A`` [3 (J - 1), 6 J] maps the velocities of bones to how fast
    their joints come apart: with springs of stiffness k, the fastest vibration has ``omega^2 = k`` times this."""
    num = len(parents)
    apart = torch.zeros(3 * num, 6 * num, dtype=masses.dtype)
    for joint, parent in enumerate(parents):
        if parent < 0:
            continue
        for bone, sign in ((joint, 1.0), (parent, -1.0)):
            arm = heads[joint] - centres[bone]
            rows, columns = slice(3 * joint, 3 * joint + 3), slice(6 * bone, 6 * bone + 6)
            apart[rows, columns] = sign * torch.cat([torch.eye(3, dtype=masses.dtype), -_cross(arm)], dim=1)
    roots = torch.zeros(6 * num, 6 * num, dtype=masses.dtype)  # M^-1/2
    for bone in range(num):
        roots[6 * bone : 6 * bone + 3, 6 * bone : 6 * bone + 3] = torch.eye(3) / masses[bone].sqrt()
        values, vectors = torch.linalg.eigh(inertias[bone])
        roots[6 * bone + 3 : 6 * bone + 6, 6 * bone + 3 : 6 * bone + 6] = (
            vectors @ torch.diag(values.rsqrt()) @ vectors.T
        )
    return max(float(torch.linalg.matrix_norm(apart @ roots, 2)) ** 2, 1e-9)


def _cross(arm: Tensor) -> Tensor:
    """The matrix [3, 3] of ``arm x``."""
    x, y, z = arm.tolist()
    return torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]], dtype=arm.dtype)
