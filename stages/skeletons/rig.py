"""A rig: joints in a tree over an asset, and how much of each part of its surface follows each joint.

At rest the frames of all joints have the axes of the world. So a pose is one rotation a joint, said in the axes that
its parent's turning gives it, and a shift of the root: bones keep their lengths by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stages.gaussians.normalised import Placement
from stages.geometry.nearest_surface import nearest_on_surface


@dataclass(frozen=True, kw_only=True)
class Joints:
    """A tree of J joints at rest.

    Args:
        names: no two alike.
        parents: of each joint; that of the root, joint 0, is -1. A parent comes before its children.
        heads: [J, 3] where each joint is.
        tails: [J, 3] where its bone ends: at a child, or at the tip of a limb.
        limits_deg: of each joint, how far it may turn from rest at most; None: as far as it likes.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    heads: Tensor
    tails: Tensor
    limits_deg: tuple[float | None, ...]

    def __len__(self) -> int:
        return len(self.parents)

    def children(self, joint: int) -> list[int]:
        """The joints whose parent is ``joint``."""
        return [child for child, parent in enumerate(self.parents) if parent == joint]


@dataclass(frozen=True, kw_only=True)
class Skin:
    """The surface that carries skin weights: the mesh of the asset, or one that was made of its Gaussians.

    Args:
        vertices, faces: [V, 3], [F, 3].
        weights: [V, J] of the vertices, rows sum to 1.
    """

    vertices: Tensor
    faces: Tensor
    weights: Tensor

    def weights_at(self, points: Tensor) -> Tensor:
        """Skin weights [P, J] of ``points`` [P, 3] at rest: those of the surface where it is nearest."""
        faces, shares = nearest_on_surface(points, self.vertices, self.faces)
        return (self.weights[self.faces[faces]] * shares[..., None]).sum(dim=1)


@dataclass(frozen=True, kw_only=True)
class Rig:
    """Joints over an asset, and its skin; ``found`` says how: "file", "auto" or "hand"."""

    joints: Joints
    skin: Skin
    found: str

    def normalised(self, placement: Placement) -> Rig:
        """The rig of the normalised asset; this one is in the units of the asset's file."""
        joints, skin = self.joints, self.skin
        return replace(
            self,
            joints=replace(joints, heads=placement.points(joints.heads), tails=placement.points(joints.tails)),
            skin=replace(skin, vertices=placement.points(skin.vertices)),
        )


def forward_kinematics(
    parents: Sequence[int],
    heads: Tensor,  # [J, 3]
    rotations: Tensor,  # [T, J, 3, 3] of each joint, in the axes of its parent; of the root, in the world's
    shift: Tensor,  # [T, 3] of the root
) -> Tensor:
    """How each bone has moved since rest: matrices [T, J, 4, 4] from the world at rest to the world. Differentiable.

    ``G_root = (R | h + s - R h)`` and ``G_j = G_parent (R_j | h_j - R_j h_j)``.
    """
    num_frames, num_joints = rotations.shape[:2]
    assert rotations.shape == (num_frames, num_joints, 3, 3) and heads.shape == (num_joints, 3)
    assert shift.shape == (num_frames, 3)
    turns: list[Tensor] = []
    shifts: list[Tensor] = []
    for joint, parent in enumerate(parents):
        R, h = rotations[:, joint], heads[joint]
        away = h - R @ h  # [T, 3]
        if parent < 0:
            turns.append(R)
            shifts.append(away + shift)
        else:
            turns.append(turns[parent] @ R)
            shifts.append((turns[parent] @ away[..., None])[..., 0] + shifts[parent])
    matrices = torch.zeros(num_frames, num_joints, 4, 4).to(rotations)
    matrices[..., :3, :3] = torch.stack(turns, dim=1)
    matrices[..., :3, 3] = torch.stack(shifts, dim=1)
    matrices[..., 3, 3] = 1.0
    return matrices


def local_rotations(parents: Sequence[int], turns: Tensor) -> Tensor:
    """The rotations [T, J, 3, 3] in their parents' axes of bones that have turned by ``turns`` [T, J, 3, 3] in the
    world's: what ``forward_kinematics`` takes."""
    return torch.stack(
        [
            turns[:, joint] if parent < 0 else turns[:, parent].transpose(-1, -2) @ turns[:, joint]
            for joint, parent in enumerate(parents)
        ],
        dim=1,
    )
