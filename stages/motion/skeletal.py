"""A motion of bones: a rotation of each joint and a shift of the root in every frame (AKD, section 4).

The controls are rotation vectors at evenly spaced moments; between them a cubic through the quaternions of its
neighbours (Catmull and Rom 1974). Forward kinematics and linear blend skinning give the points; how a Gaussian turns
and stretches follows from its neighbourhood, as for every motion. Bones keep their lengths by construction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stages.gaussians import Frames, Gaussians
from stages.geometry.rotations import best_rotations, matrix_quaternions, quaternion_matrices
from stages.motion.interface import Regularizer
from stages.motion.regularizers import RegularizerConfig
from stages.motion.skeletal_terms import GroundPenalty, Limits, Smoothness, towards
from stages.settings import check
from stages.skeletons.ground import slim_cuboids
from stages.skeletons.rig import Joints, Rig, Skin, forward_kinematics
from stages.skeletons.skeleton import skin
from stages.skeletons.stored import rig_metadata, rig_of_tensors, rig_tensors

SHIFT_RATE = 0.2
"""Learning rate of the root's shift over that of the joints' angles: radians turn a limb farther. [ours]"""

RIDGE = 0.05
"""Towards the parent's turn, as a share of the spread of a bone's points about its joint. [ours]"""

LEAST_POINTS = 1e-3
"""Of the skin weight of all points: a bone with less follows its parent. [ours]"""


@dataclass(frozen=True, kw_only=True)
class SkeletonConfig:
    """How a motion of bones is controlled. [ours]"""

    frames: int = 16  # controls in time
    learning_rate: float = 1e-2  # radians a step: a motion of bones does not take that of other motions
    free_start: bool = False  # a motion that is no loop need not begin at rest

    def __post_init__(self) -> None:
        check(self, frames=4, learning_rate=0)


class SkeletalMotion(nn.Module):
    """Joint angles a frame. A ``stages.motion.interface.Motion``.

    Args:
        config: how finely it is controlled.
        rig: of the asset, in the asset's units.
        cyclic: whether the motion is a loop; if not, it begins at rest, unless ``config`` lets it begin freely.
    """

    kind = "skeleton"

    def __init__(self, config: SkeletonConfig, rig: Rig, *, cyclic: bool) -> None:
        super().__init__()
        self.config, self.cyclic, self.found = config, cyclic, rig.found
        self.names, self.parents, self.limits_deg = rig.joints.names, rig.joints.parents, rig.joints.limits_deg
        for name, tensor in rig_tensors(rig).items():
            self.register_buffer(name, tensor.detach().clone())
        self.starts_at_rest = not (cyclic or config.free_start)
        learnt = config.frames - 1 if self.starts_at_rest else config.frames
        self.angles = nn.Parameter(torch.zeros(learnt, len(self.parents), 3))  # rotation vectors, radians
        self.shift = nn.Parameter(torch.zeros(learnt, 3))
        self._weighed: tuple[Tensor, Tensor] | None = None  # the points that were asked last, and their weights

    @property
    def rig(self) -> Rig:
        """What it moves."""
        buffers = dict(self.named_buffers())
        joints = Joints(
            names=self.names, parents=self.parents, heads=buffers["heads"], tails=buffers["tails"],
            limits_deg=self.limits_deg,
        )  # fmt: skip
        skin = Skin(vertices=buffers["vertices"], faces=buffers["faces"], weights=buffers["weights"])
        return Rig(joints=joints, skin=skin, found=self.found)

    def times(self) -> Tensor:
        """The ``frame_time`` [F] of each control."""
        return torch.arange(self.config.frames) / (self.config.frames if self.cyclic else self.config.frames - 1)

    def controls(self) -> tuple[Tensor, Tensor]:
        """Rotation vectors [F, J, 3] and shifts [F, 3] of all controls, the one at rest included."""
        if not self.starts_at_rest:
            return self.angles, self.shift
        rest = torch.zeros_like(self.shift[:1])
        return torch.cat([torch.zeros_like(self.angles[:1]), self.angles]), torch.cat([rest, self.shift])

    def pose(self, frame_times: Tensor) -> tuple[Tensor, Tensor]:
        """Rotations [T, J, 3, 3] of the joints in their parents' axes, and the shift [T, 3] of the root."""
        angles, shift = self.controls()
        turns = interpolated(vector_quaternions(angles), frame_times, cyclic=self.cyclic, quaternions=True)
        return quaternion_matrices(turns), interpolated(shift, frame_times, cyclic=self.cyclic)

    def _smoothed(self) -> tuple[Tensor, Tensor]:
        """Quaternions [F, J, 4] and shifts [F, 3] of all controls."""
        angles, shift = self.controls()
        return vector_quaternions(angles), shift

    def matrices(self, frame_times: Tensor) -> Tensor:
        """How each bone has moved since rest, [T, J, 4, 4]."""
        heads: Tensor = dict(self.named_buffers())["heads"]
        return forward_kinematics(self.parents, heads, *self.pose(frame_times))

    def at(self, asset: Gaussians, frame_times: Tensor) -> Frames:
        """See ``Motion.at``."""
        return Frames(asset, skin(asset.means, self.weights_of(asset.means), self.matrices(frame_times)))

    def displacements(self, points: Tensor, frame_times: Tensor) -> Tensor:
        """See ``Motion.displacements``."""
        return skin(points, self.weights_of(points), self.matrices(frame_times)) - points

    def weights_of(self, points: Tensor) -> Tensor:
        """Skin weights [P, J] of ``points`` [P, 3] at rest; those asked last are kept."""
        if self._weighed is None or self._weighed[0] is not points:
            self._weighed = points, self.rig.skin.weights_at(points)
        return self._weighed[1]

    @torch.no_grad()
    def set_pose(self, rotations: Tensor, shift: Tensor) -> None:
        """Take the pose of each control from rotations [F, J, 3, 3] and shifts [F, 3], as ``pose`` gives them."""
        angles = rotation_vectors(rotations)
        first = 1 if self.starts_at_rest else 0
        self.angles.copy_(angles[first:])
        self.shift.copy_(shift[first:])

    @torch.no_grad()
    def follow(self, points: Tensor, moves: Tensor) -> None:
        """Turn the bones so that ``points`` [P, 3] at rest go by ``moves`` [F, P, 3] at ``times``, as well as they can:
        from the root outwards each bone takes the best rotation about its joint, where that has gone by then."""
        weights, goes = self.weights_of(points), points + moves
        rig, heads = self.rig, self.rig.joints.heads
        carried = weights.sum(dim=0) / weights.sum()
        turns: list[Tensor] = []
        places: list[Tensor] = []  # of the heads, [F, 3]
        for joint, parent in enumerate(self.parents):
            own = weights[:, joint]
            if parent < 0:
                own = torch.ones_like(own) if carried[joint] < LEAST_POINTS else own
                middle, gone = own @ points / own.sum(), torch.einsum("p,fpd->fd", own, goes) / own.sum()
                R = _turn(own, points - middle, goes - gone[:, None], torch.eye(3).to(points))
                place = gone + (R @ (heads[joint] - middle)[..., None])[..., 0]
            else:
                place = places[parent] + (turns[parent] @ (heads[joint] - heads[parent])[..., None])[..., 0]
                R = turns[parent]
                if carried[joint] >= LEAST_POINTS:
                    R = _turn(own, points - heads[joint], goes - place[:, None], turns[parent])
            turns.append(R)
            places.append(place)
        local = [R if parent < 0 else turns[parent].mT @ R for R, parent in zip(turns, self.parents, strict=True)]
        root = rig.joints.parents.index(-1)
        self.set_pose(torch.stack(local, dim=1), places[root] - heads[root])

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """See ``Motion.parameter_groups``: by its own rate, for it learns angles."""
        rate = self.config.learning_rate
        return [{"params": [self.angles], "lr": rate}, {"params": [self.shift], "lr": SHIFT_RATE * rate}]

    def regularizers(self, asset: Gaussians, config: RegularizerConfig) -> list[Regularizer]:
        """See ``Motion.regularizers``: smooth controls, bones above the lowest point of the asset at rest where
        ``config`` has a weight for the ground, joints within their limits where they have some."""
        terms: list[Regularizer] = []
        if config.smooth_weight:
            terms.append(Smoothness(config.smooth_weight, self._smoothed, cyclic=self.cyclic))
        if config.ground_weight:
            height = float(asset.means[asset.body, 1].min())
            cuboids = slim_cuboids(self.rig)
            terms.append(GroundPenalty(config.ground_weight, cuboids, lambda: self.matrices(self.times()), height))
        if any(limit is not None for limit in self.limits_deg):
            terms.append(Limits(self.limits_deg, self.controls))
        return terms

    def tensors(self) -> dict[str, Tensor]:
        """See ``Motion.tensors``: the controls and the rig."""
        return {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}

    def metadata(self) -> dict[str, str]:
        """See ``Motion.metadata``."""
        return {
            "kind": self.kind,
            "units": "normalised",
            "frames": str(self.config.frames),
            "learning_rate": str(self.config.learning_rate),
            **rig_metadata(self.rig),
            "cyclic": str(self.cyclic).lower(),
            "starts_at_rest": str(self.starts_at_rest).lower(),
        }

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> SkeletalMotion:
        """The motion of ``tensors`` and ``metadata``."""
        cyclic, at_rest = (metadata[name] == "true" for name in ("cyclic", "starts_at_rest"))
        config = SkeletonConfig(
            frames=int(metadata["frames"]),
            learning_rate=float(metadata["learning_rate"]),
            free_start=not (cyclic or at_rest),
        )
        motion = SkeletalMotion(config, rig_of_tensors(tensors, metadata), cyclic=cyclic)
        motion.load_state_dict(dict(tensors))
        return motion


def interpolated(values: Tensor, frame_times: Tensor, *, cyclic: bool, quaternions: bool = False) -> Tensor:
    """``values`` [F, ...] at evenly spaced moments, between them [T, ...] at ``frame_times`` [T] in [0, 1]. Those that
    are ``quaternions`` have no sign; they are not of unit length any more between moments."""
    count = len(values)
    at = frame_times.to(values) * (count if cyclic else count - 1)
    before = at.detach().floor().clamp(0, count - 1 if cyclic else count - 2)
    u = (at - before).reshape(-1, *[1] * (values.dim() - 1))
    first = before.long()
    near = [first + step for step in (-1, 0, 1, 2)]
    p0, p1, p2, p3 = (values[index % count if cyclic else index.clamp(0, count - 1)] for index in near)
    if quaternions:
        p0, p2, p3 = (towards(p1, other) for other in (p0, p2, p3))
    return p1 + 0.5 * u * (p2 - p0 + u * (2 * p0 - 5 * p1 + 4 * p2 - p3 + u * (3 * (p1 - p2) + p3 - p0)))


def vector_rotations(vectors: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] of rotation vectors [..., 3]."""
    return quaternion_matrices(vector_quaternions(vectors))


def vector_quaternions(vectors: Tensor) -> Tensor:
    """Unit quaternions wxyz [..., 4] of rotation vectors [..., 3]; differentiable at zero."""
    square = vectors.square().sum(dim=-1, keepdim=True)
    small = square < 1e-8
    angle = torch.where(small, torch.ones_like(square), square).sqrt()
    shares = torch.where(small, 0.5 - square / 48.0, torch.sin(0.5 * angle) / angle)
    w = torch.where(small, 1.0 - square / 8.0, torch.cos(0.5 * angle))
    return torch.cat([w, shares * vectors], dim=-1)


def rotation_vectors(rotations: Tensor) -> Tensor:
    """Rotation vectors [..., 3], radians, of at most half a turn, of rotation matrices [..., 3, 3]."""
    quats = matrix_quaternions(rotations)
    quats = torch.where(quats[..., :1] < 0, -quats, quats)
    length = quats[..., 1:].norm(dim=-1, keepdim=True)
    angle = 2.0 * torch.atan2(length, quats[..., :1])
    return torch.where(length < 1e-9, 2.0 * quats[..., 1:], quats[..., 1:] * angle / length.clamp(min=1e-12))


def _turn(weights: Tensor, before: Tensor, after: Tensor, usual: Tensor) -> Tensor:
    """The rotations [F, 3, 3] that take ``before`` [P, 3] best to ``after`` [F, P, 3], weighted by ``weights`` [P]; a
    little towards ``usual`` [F, 3, 3] or [3, 3]: points on a line leave one open, and an ear would spin."""
    ridge = RIDGE * (weights * before.square().sum(dim=-1)).sum() / 3.0
    return best_rotations(torch.einsum("p,fpa,pb->fab", weights, after, before) + ridge * usual).to(before)
