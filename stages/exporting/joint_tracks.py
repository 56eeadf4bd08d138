"""From the motion of a rig to what animation formats hold: each node's own shift, turn and scale in every frame.

A file's nodes form a tree, and each is written relative to its parent. Where a node shall be is known in the world. So
nodes are taken from the root on, and each is written relative to where its parent *will* be in a reader: neither
rounding nor tracks that are left out add up along a limb.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stages.errors import BadInput
from stages.geometry.rotations import continuous_quaternions, matrix_quaternions
from stages.meshes.gltf import Array
from stages.skeletons.skeleton import Pose, transform_matrices

STILL_SHIFT, STILL_TURN, STILL_SCALE = 1e-5, 5e-6, 1e-5
"""Changes below these are none: in shares of the box of the joints, in quaternion components, and in factors. [ours]"""

SHEAR = 1e-3
"""Of a node's scale: what shift, turn and scale may leave of its matrix. Files hold float32 matrices of 100 and more,
in which up to 1e-5 is noise. [ours]"""

PATHS = ("translation", "rotation", "scale")
"""What of a node can be animated (glTF 2.0, 3.11); the weights of morph targets are left alone."""


@dataclass(frozen=True, kw_only=True)
class SkinnedClip:
    """A motion of a rig, ready to be written.

    Args:
        name: as the animation is called in the file.
        matrices: [T, J, 4, 4] of each joint, from the world at rest to the world, in the units of the asset's file: see
            ``rig.forward_kinematics``.
        fps: frames a second.
        loop: after the last frame comes the first again.

    Raises:
        BadInput: no frames, no joints, numbers that are not finite, or an ``fps`` below 1.
    """

    name: str
    matrices: Tensor
    fps: int
    loop: bool = False

    def __post_init__(self) -> None:
        shape = tuple(self.matrices.shape)
        if len(shape) != 4 or shape[2:] != (4, 4) or 0 in shape:
            raise BadInput(f"The motion {self.name!r} has no frames of joints: its shape is {shape}.")
        if not bool(self.matrices.isfinite().all()):
            raise BadInput(f"The motion {self.name!r} holds numbers that are NaN or infinite.", "Make it again.")
        if self.fps < 1:
            raise BadInput("Frames a second must be at least 1.")

    @property
    def keyed(self) -> Tensor:
        """The matrices [K, J, 4, 4] at all keys, in double: of a loop, the first frame comes again at the end."""
        matrices = self.matrices.detach().cpu().double()
        return torch.cat([matrices, matrices[:1]]) if self.loop else matrices

    @property
    def times(self) -> Array:
        """When the keys are, [K] float32 seconds."""
        return (np.arange(len(self.matrices) + int(self.loop)) / self.fps).astype(np.float32)


@dataclass(frozen=True)
class NodeTrack:
    """One animated property of one node."""

    node: int
    path: str  # one of PATHS
    values: Tensor  # [K, 3] float32, or [K, 4] wxyz; K = 1 where it holds still


@dataclass(frozen=True, kw_only=True)
class Nodes:
    """The tree of a file's M nodes."""

    names: Sequence[str]
    parents: Sequence[int]  # -1 at roots; a parent comes before its children
    own: Pose  # their transforms in the file, one frame


def check_clips(clips: Sequence[SkinnedClip], num_joints: int | None = None) -> int:
    """J. Raises ``BadInput``: there are no clips, or not all are of a rig of ``num_joints``."""
    if not clips:
        raise BadInput("There is no motion to write.", "Give at least one.")
    num_joints = clips[0].matrices.shape[1] if num_joints is None else num_joints
    for clip in clips:
        if clip.matrices.shape[1] != num_joints:
            raise BadInput(f"The motion {clip.name!r} has {clip.matrices.shape[1]} joints, the rig {num_joints}.")
    return num_joints


def local_poses(nodes: Nodes, worlds: Mapping[int, Tensor]) -> Pose:
    """The transforms of all nodes relative to their parents, so that those in ``worlds`` are where it says.

    Args:
        worlds: by node, [K, 4, 4] in double. Other nodes keep their own transform, and so follow their parent.

    Returns:
        K frames of float32 values; quaternions are continuous, and what holds still is the same in each of them.

    Raises:
        BadInput: a node's transform is no shift, turn and scale (sheared or mirrored), or a parent has no size.
    """
    num_keys = len(next(iter(worlds.values())))
    size = _box(torch.stack([world[0, :3, 3] for world in worlds.values()]))
    reached: list[Tensor] = []
    local = Pose(
        *(t.float().repeat(num_keys, 1, 1) for t in (nodes.own.translations, nodes.own.rotations, nodes.own.scales))
    )
    for node, parent in enumerate(nodes.parents):
        above = torch.eye(4, dtype=torch.float64).expand(num_keys, 4, 4) if parent < 0 else reached[parent]
        if node in worlds:
            length = torch.linalg.det(above[:, :3, :3]).abs().amin() ** (1 / 3)
            if not float(length) > 0.0:
                raise BadInput(f"The node {nodes.names[parent]!r} has scale 0: nothing below it can move.")
            shifts, turns, scales = _taken_apart(torch.linalg.solve(above, worlds[node]), nodes.names[node])
            own = (nodes.own.translations[0, node], nodes.own.rotations[0, node], nodes.own.scales[0, node])
            local.translations[:, node] = _stilled(shifts, own[0], STILL_SHIFT * size / float(length))
            local.rotations[:, node] = _stilled(turns, _nearer(own[1], turns[0]), STILL_TURN)
            local.scales[:, node] = _stilled(scales, own[2], STILL_SCALE * float(scales.abs().amax()))
        there = Pose(*(t[:, node : node + 1].double() for t in (local.translations, local.rotations, local.scales)))
        reached.append(above @ transform_matrices(there)[:, 0])
    return local


def node_tracks(nodes: Nodes, worlds: Mapping[int, Tensor]) -> list[NodeTrack]:
    """The tracks that take the nodes of ``worlds`` there, see ``local_poses``; none where a node's own transform does,
    and a single key where it holds still."""
    local = local_poses(nodes, worlds)
    tracks = []
    for node in worlds:
        for path, values in _properties(local, node).items():
            values, own = values[:1] if bool((values == values[:1]).all()) else values, _own(nodes, node, path)
            if path == "rotation":
                own = _nearer(own, values[0])
            if len(values) > 1 or not torch.equal(values[0], own):
                tracks.append(NodeTrack(node, path, values))
    return tracks


def with_still(nodes: Nodes, tracks: Sequence[NodeTrack], moved: Iterable[tuple[int, str]]) -> list[NodeTrack]:
    """``tracks``, and a key for each property among ``moved`` that these leave as it is.

    What another animation of the file moves has to be written: programs such as Blender otherwise leave it where that
    had it last. An animation that moves nothing gets a key too, as it must have a track (glTF 2.0, 5.5).
    """
    there = {(track.node, track.path) for track in tracks}
    missing = sorted(set(moved) - there) or ([] if tracks else [(0, "rotation")])
    return [*tracks, *(NodeTrack(node, path, _own(nodes, node, path)[None]) for node, path in missing)]


def _properties(pose: Pose, node: int) -> dict[str, Tensor]:
    """Values [K, 3] or [K, 4] of a node by their name in glTF."""
    return {
        "translation": pose.translations[:, node],
        "rotation": pose.rotations[:, node],
        "scale": pose.scales[:, node],
    }


def _own(nodes: Nodes, node: int, path: str) -> Tensor:
    """What the file says of a node by itself."""
    return _properties(nodes.own, node)[path][0].float()


def _box(points: Tensor) -> float:
    """The diagonal of the box of ``points`` [P, 3]."""
    return float((points.amax(dim=0) - points.amin(dim=0)).norm())


def _nearer(quat: Tensor, other: Tensor) -> Tensor:
    """``quat`` [4], or its opposite, which is the same turn: the one nearer to ``other``."""
    return quat if float((quat.double() * other.double()).sum()) >= 0.0 else -quat


def _stilled(values: Tensor, own: Tensor, still: float) -> Tensor:
    """``values`` [K, D] as float32. Those that differ by less than ``still`` become one, and that becomes ``own`` where
    it is as near to it."""
    if float((values - values[:1]).abs().amax()) > still:
        return values.float()
    first = own if float((values[0] - own.double()).abs().amax()) <= still else values[0]
    return first.float().expand(len(values), -1)


def _taken_apart(local: Tensor, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Shifts [K, 3], continuous quaternions [K, 4] and scales [K, 3] of a node's ``local`` matrices [K, 4, 4]."""
    linear = local[:, :3, :3]
    scales = linear.norm(dim=1)  # of the columns
    if bool((torch.linalg.det(linear) < -SHEAR * scales.prod(dim=-1)).any()):
        raise BadInput(
            f"The node {name!r} is mirrored: no turn and scale do that.", "Apply its scale and export again."
        )
    axes = linear / scales.clamp(min=1e-30)[:, None]
    if bool(
        ((axes.mT @ axes - torch.eye(3).double()).abs().amax(dim=(-2, -1)) > SHEAR)
        .logical_and(scales.amin(-1) > 0)
        .any()
    ):
        raise BadInput(
            f"The node {name!r} would be sheared: it, or a node above it, is not scaled alike in all directions.",
            "Apply the scale of its bones and export the file again.",
        )
    return local[:, :3, 3], continuous_quaternions(matrix_quaternions(axes)), scales
