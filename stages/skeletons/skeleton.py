"""Skeletons and skinning: joints in a tree, a pose as local transforms, Gaussians that follow.

A body is defined in its *bind* pose; what users see at rest is its *rest* pose (standing). Positions follow linear
blend skinning; how a Gaussian turns and stretches follows from its neighbourhood, as for every motion.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stages.gaussians import Frames, Gaussians
from stages.geometry.rotations import quaternion_matrices


@dataclass(frozen=True)
class Pose:
    """Local transforms of J nodes in T frames, relative to the parent node."""

    translations: Tensor  # [T, J, 3]
    rotations: Tensor  # [T, J, 4] wxyz
    scales: Tensor  # [T, J, 3]

    def blend(self, other: Pose, weight: Tensor) -> Pose:
        """This pose at ``weight`` [T] = 0, ``other`` at 1; rotations on the shorter arc (normalised lerp)."""
        w = weight[:, None, None]
        sign = torch.where((self.rotations * other.rotations).sum(-1, keepdim=True) < 0, -1.0, 1.0)
        rotations = (1 - w) * self.rotations + w * sign * other.rotations
        return Pose(
            (1 - w) * self.translations + w * other.translations,
            torch.nn.functional.normalize(rotations, dim=-1),
            (1 - w) * self.scales + w * other.scales,
        )

    def frame(self, index: int) -> Pose:
        """One frame of it."""
        frame = slice(index, index + 1)
        return Pose(self.translations[frame], self.rotations[frame], self.scales[frame])

    def repeat(self, num_frames: int) -> Pose:
        """The first frame ``num_frames`` times."""
        return Pose(*(t[:1].expand(num_frames, -1, -1) for t in (self.translations, self.rotations, self.scales)))


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """A tree of nodes, some of which are the joints of a skin."""

    parents: list[int]  # [J], -1 at roots; a parent comes before its children
    joints: list[int]  # [S] nodes that are joints of the skin
    inverse_bind: Tensor  # [S, 4, 4] bind pose to joint
    world: Tensor  # [4, 4] file coordinates to world: uniform scale, shift, turn

    def joint_matrices(self, pose: Pose) -> Tensor:
        """Bind pose to world for every joint, [T, S, 4, 4]."""
        local = transform_matrices(pose)
        nodes: list[Tensor] = []
        for node, parent in enumerate(self.parents):
            nodes.append(local[:, node] if parent < 0 else nodes[parent] @ local[:, node])
        return self.world @ torch.stack([nodes[j] for j in self.joints], dim=1) @ self.inverse_bind


@dataclass(frozen=True, kw_only=True)
class Body:
    """Gaussians bound to a skeleton."""

    gaussians: Gaussians  # in the rest pose, world frame
    bind_means: Tensor  # [N, 3] in the bind pose, file coordinates
    weights: Tensor  # [N, S] skin weights, rows sum to 1
    skeleton: Skeleton
    rest: Pose  # one frame

    def standing(self, rest: Pose) -> Body:
        """The same body at rest in another pose of one frame, where it is then."""
        return replace(self, gaussians=self.animate(rest).asset_at(0), rest=rest)

    def animate(self, pose: Pose) -> Frames:
        """The body in every frame of ``pose``."""
        return Frames(self.gaussians, skin(self.bind_means, self.weights, self.skeleton.joint_matrices(pose)))

    def from_rest(self, motion: Pose, blend_frames: int = 4, gain: float = 1.0) -> Frames:
        """The body in the poses of ``enter``."""
        return self.animate(self.enter(motion, blend_frames, gain))

    def enter(self, motion: Pose, blend_frames: int = 4, gain: float = 1.0) -> Pose:
        """``motion`` entered from the rest pose: frame 0 is the rest pose exactly, ``blend_frames`` is all motion; a
        ``gain`` above 1 goes beyond it."""
        num_frames = motion.translations.shape[0]
        ramp = (torch.arange(num_frames) / max(1, blend_frames)).clamp(max=1.0).to(motion.translations)
        smooth = ramp * ramp * (3.0 - 2.0 * ramp)
        return self.rest.repeat(num_frames).blend(motion, gain * smooth)


def skin(points: Tensor, weights: Tensor, matrices: Tensor) -> Tensor:
    """Linear blend skinning: points [N, 3], weights [N, S], matrices [T, S, 4, 4] -> [T, N, 3]."""
    blended = torch.einsum("ns,tsij->tnij", weights, matrices[:, :, :3])
    return torch.einsum("tnij,nj->tni", blended[..., :3], points) + blended[..., 3]


def unskin(points: Tensor, weights: Tensor, matrices: Tensor) -> Tensor:
    """The bind positions [N, 3] that ``matrices`` [S, 4, 4] with ``weights`` [N, S] skin to ``points`` [N, 3]."""
    blended = torch.einsum("ns,sij->nij", weights.double(), matrices[:, :3].double())
    return torch.linalg.solve(blended[..., :3], points.double() - blended[..., 3]).to(points)


def transform_matrices(pose: Pose) -> Tensor:
    """Local matrices [T, J, 4, 4] of a pose: scale, then turn, then shift."""
    matrices = torch.zeros(*pose.translations.shape[:2], 4, 4).to(pose.translations)
    matrices[..., :3, :3] = quaternion_matrices(pose.rotations) * pose.scales[..., None, :]
    matrices[..., :3, 3] = pose.translations
    matrices[..., 3, 3] = 1.0
    return matrices
