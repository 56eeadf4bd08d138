"""Between a motion of a rig and the states of a simulated body: sampling, angles of motors, speeds at the start.

A motion is what ``forward_kinematics`` takes; a state [J, 29] is what ``physics_engine`` takes: of each bone's centre
the position, the quaternion (x, y, z, w), the velocity and the angular velocity, in the world and in metres; and how
the bristles between its corners and the ground are bent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stages.geometry.rotations import best_rotations, continuous_quaternions, matrix_quaternions, quaternion_matrices
from stages.skeletons.physics_model import BodyModel
from stages.skeletons.rig import forward_kinematics, local_rotations

STANDING_M = 0.01
"""Height above the ground at which a bone counts a third of what it counts when it stands on it."""


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Where J bones are in K moments: centres [K, J, 3] in metres and turns [K, J, 3, 3] since rest."""

    centres: Tensor
    turns: Tensor


def resample(rotations: Tensor, shift: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """``rotations`` [T, J, 3, 3] and ``shift`` [T, 3] in ``num`` moments, as evenly spaced from the first to the last
    as they are themselves."""
    last = len(shift) - 1
    at = torch.linspace(0.0, float(last), num, dtype=torch.float64)
    lower = at.floor().long().clamp(max=max(0, last - 1))
    upper = (lower + 1).clamp(max=last)
    share = (at - lower).to(shift)[:, None]
    quats = continuous_quaternions(matrix_quaternions(rotations))
    quats = quats[lower].lerp(quats[upper], share[..., None])
    return quaternion_matrices(quats), shift[lower].lerp(shift[upper], share)


def bone_paths(model: BodyModel, rotations: Tensor, shift: Tensor) -> Paths:
    """Where the bones of ``model`` are; ``shift`` [T, 3] is in the asset's units."""
    matrices = forward_kinematics(model.parents, model.heads, rotations.to(model.heads), shift * model.scale)
    centres = torch.einsum("tjab,jb->tja", matrices[..., :3, :3], model.cuboids.centres) + matrices[..., :3, 3]
    return Paths(centres=centres, turns=matrices[..., :3, :3])


def corners_of(model: BodyModel, paths: Paths) -> Tensor:
    """Corners [K, J, 8, 3] of the cuboids, in metres."""
    return torch.einsum("tjab,jcb->tjca", paths.turns, model.cuboids.corners()) + paths.centres[:, :, None]


def motion_of(model: BodyModel, paths: Paths, ground: float) -> tuple[Tensor, Tensor]:
    """The motion with these turns: rotations [T, J, 3, 3], and the shift [T, 3] in the asset's units.

    In the simulation joints give way a little; here bones keep their lengths. The body is put where the bones that
    stand on the ``ground`` (y in metres) are nearest to the simulated ones, so that feet stay where they stood; in the
    air, where all bones are, by their masses.
    """
    rotations = local_rotations(model.parents, paths.turns)
    still = bone_paths(model, rotations, torch.zeros(len(rotations), 3).to(rotations))
    height = (corners_of(model, paths)[..., 1].amin(dim=2) - ground).clamp(min=0.0)
    share = torch.exp(-height / STANDING_M) + 0.05 * model.masses
    shift = ((paths.centres - still.centres) * share[..., None]).sum(dim=1) / share.sum(dim=1, keepdim=True)
    return rotations, shift / model.scale


def mean_rotations(rotations: Tensor) -> Tensor:
    """Of each joint [J, 3, 3], the rotation nearest to all of ``rotations`` [T, J, 3, 3]."""
    return best_rotations(rotations.sum(dim=0))


def euler_angles(rotations: Tensor) -> Tensor:
    """Angles a, b, c [..., 3] with ``R = R_x(a) R_y(b) R_z(c)``: what Newton's joint of three axes measures."""
    a = torch.atan2(-rotations[..., 1, 2], rotations[..., 2, 2])
    b = torch.asin(rotations[..., 0, 2].clamp(-1.0, 1.0))
    c = torch.atan2(-rotations[..., 0, 1], rotations[..., 0, 0])
    return torch.stack([a, b, c], dim=-1)


def motor_angles(rotations: Tensor, zeros: Tensor) -> Tensor:
    """Angles [K, J - 1, 3] of all joints but the root, from ``zeros`` [J, 3, 3], without jumps by a whole turn."""
    angles = euler_angles(zeros.mT @ rotations)[:, 1:]
    turn = 2.0 * torch.pi
    steps = angles[1:] - angles[:-1]
    return torch.cat([angles[:1], angles[:1] + (steps - turn * (steps / turn).round()).cumsum(dim=0)])


def speeds_between(paths: Paths, parents: tuple[int, ...], seconds: float) -> Tensor:
    """Speeds [J + 1, 3] of the first of two moments ``seconds`` apart: see ``start_state``."""
    velocity = (paths.centres[1, 0] - paths.centres[0, 0]) / seconds
    quats = matrix_quaternions(paths.turns[1] @ paths.turns[0].mT)
    quats = quats * quats[:, :1].sign()
    angle = 2.0 * torch.atan2(quats[:, 1:].norm(dim=1), quats[:, 0])
    spin = torch.nn.functional.normalize(quats[:, 1:], dim=1) * (angle / seconds)[:, None]
    own = torch.stack([spin[j] - spin[parent] if parent >= 0 else spin[j] for j, parent in enumerate(parents)])
    return torch.cat([velocity[None], own])


def start_state(model: BodyModel, paths: Paths, speeds: Tensor) -> Tensor:
    """The state [J, 29] in the first of ``paths``. Differentiable by ``speeds`` [J + 1, 3]: the velocity of the root's
    centre, its angular velocity, and those of the other bones less their parents', all in the world: joints hold
    whatever the speeds are."""
    centres, turns = paths.centres[0], paths.turns[0]
    spins: list[Tensor] = []
    velocities: list[Tensor] = []
    for bone, parent in enumerate(model.parents):
        if parent < 0:
            spins.append(speeds[1])
            velocities.append(speeds[0])
            continue
        spin = spins[parent] + speeds[bone + 1]
        joint = centres[bone] + turns[bone] @ (model.heads[bone] - model.cuboids.centres[bone])
        velocity = velocities[parent] + torch.linalg.cross(spins[parent], joint - centres[parent])
        velocities.append(velocity + torch.linalg.cross(spin, centres[bone] - joint))
        spins.append(spin)
    quats = matrix_quaternions(turns)[:, [1, 2, 3, 0]]
    bristles = torch.zeros(len(centres), 16).to(centres)
    return torch.cat([centres, quats, torch.stack(velocities), torch.stack(spins), bristles], dim=1)


def state_paths(states: Tensor) -> Paths:
    """Where the bones are in ``states`` [K, J, 29]. Differentiable."""
    return Paths(centres=states[..., :3], turns=quaternion_matrices(states[..., [6, 3, 4, 5]]))


def sample_states(states: Tensor, num: int) -> Paths:
    """Where the bones are in ``num`` moments, evenly from the first of ``states`` [K, J, 29] to the last."""
    quats = continuous_quaternions(states[..., [6, 3, 4, 5]])
    at = torch.linspace(0.0, len(states) - 1.0, num, dtype=torch.float64)
    lower = at.floor().long().clamp(max=len(states) - 2)
    share = (at - lower).to(states)[:, None, None]
    return Paths(
        centres=states[lower, :, :3].lerp(states[lower + 1, :, :3], share),
        turns=quaternion_matrices(quats[lower].lerp(quats[lower + 1], share)),
    )
