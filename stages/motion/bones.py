"""Motions that are made of bones: one, or several one after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.geometry.rotations import best_rotations
from stages.motion.interface import Motion
from stages.motion.sequence import MotionSequence
from stages.motion.skeletal import SkeletalMotion
from stages.skeletons.rig import Rig

PosedBones = tuple[Tensor, Tensor]
"""Rotations [T, J, 3, 3] of joints in their parents' axes, and the shift [T, 3] of the root."""


def rig_of(motion: Motion | None) -> Rig | None:
    """What carries a motion; None where that is no skeleton."""
    if isinstance(motion, SkeletalMotion):
        return motion.rig
    if isinstance(motion, MotionSequence):
        rigs = [rig_of(one) for one in motion.motions]
        return rigs[0] if all(rig is not None for rig in rigs) else None
    return None


def weights_of(motion: Motion, points: Tensor) -> Tensor:
    """Skin weights [P, J] of ``points`` [P, 3] at rest; the motion must be made of bones."""
    while isinstance(motion, MotionSequence):
        motion = motion.motions[0]
    assert isinstance(motion, SkeletalMotion)
    return motion.weights_of(points)


@torch.no_grad()
def pose_of(motion: Motion, frame_times: Tensor) -> PosedBones:
    """The pose of the bones of ``motion`` at ``frame_times`` [T]; it must be made of bones."""
    if isinstance(motion, SkeletalMotion):
        return motion.pose(frame_times)
    assert isinstance(motion, MotionSequence)
    total: PosedBones | None = None
    for number, share, times in motion.shares(frame_times):
        pose = pose_of(motion.motions[number], times)
        total = pose if total is None else blended(total, pose, share)
    assert total is not None
    return total


def blended(one: PosedBones, other: PosedBones, share: Tensor) -> PosedBones:
    """Of two poses ``share`` [T] of the other: bones keep their lengths between them."""
    turned = torch.lerp(one[0], other[0], share.reshape(-1, 1, 1, 1))
    return best_rotations(turned).to(turned), torch.lerp(one[1], other[1], share.reshape(-1, 1))
