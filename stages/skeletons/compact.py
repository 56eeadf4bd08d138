"""A rigged file as small as it goes: few keys, whole-number vertices, colours at the vertices, no node that is idle.

What it costs is set by ``keys.FINE`` and by the steps of KHR_mesh_quantization: 1/32767 of the half box for
positions, 1/255 for skin weights and colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stages.errors import BadInput
from stages.geometry.rotations import quaternion_multiply
from stages.meshes.gltf import Array
from stages.meshes.paint import linear_light
from stages.skeletons.keys import KeyedClip, KeyedTrack, Wanted, key_clip, probe
from stages.skeletons.rigged import RiggedFile
from stages.skeletons.skeleton import Pose

STEPS = 32767
INFLUENCES = 4
INSIDE = 0.1
"""How far from a corner towards its triangle's middle the corner's colour is taken: on the edge of a texture's cell it
would be the neighbour's. [ours]"""


@dataclass(frozen=True, kw_only=True)
class CompactBody:
    """All that ``write_glb.body_bytes`` writes."""

    names: tuple[str, ...]  # of J nodes, parents first
    parents: tuple[int, ...]  # -1 at roots
    bind: Pose  # the nodes' own transforms, one frame
    joints: tuple[int, ...]  # S nodes, each once
    inverse_bind: Array  # [S, 4, 4] float32, from the whole numbers in ``positions`` over ``STEPS`` to the joint
    positions: Array  # [V, 3] int16
    influences: Array  # [V, 4] uint8: which of the joints
    weights: Array  # [V, 4] uint8; rows sum to 255
    colors: Array  # [V, 4] uint8, linear light
    faces: Array  # [F, 3]
    origins: Array  # [V] the source's vertex that each comes from; not written
    clips: tuple[KeyedClip, ...]


def compact(
    file: RiggedFile,
    clips: Sequence[Wanted],
    rest: Pose,
    *,
    turn_deg: float = 0.0,
    color: tuple[float, float, float] | None = None,
) -> CompactBody:
    """Pack ``file``.

    Args:
        clips: those that it keeps.
        rest: the pose, of one frame, in which its size is measured.
        turn_deg: turns it about +y: what faced +x faces +z after -90.
        color: displayed red, green and blue of a body whose texture is lost.

    Raises:
        BadInput: nothing of it can be seen, or it has more than 256 joints.
    """  # fmt: skip
    joints, inverse_bind, weights = _merged_joints(file)
    shown, linear = _vertex_colors(file, color)
    faces = file.faces.numpy()[shown]
    influences, shares = _quantised_weights(weights)
    used = np.zeros(len(joints), bool)
    used[influences[faces.reshape(-1)][shares[faces.reshape(-1)] > 0]] = True
    if used.sum() > 256:
        raise BadInput(f"It has {int(used.sum())} joints: 256 can be packed.", "Leave it out.")
    influences = (np.cumsum(used) - 1)[np.where(shares > 0, influences, 0)] * (shares > 0)

    low, high = file.vertices.amin(0).double(), file.vertices.amax(0).double()
    middle, half = 0.5 * (low + high).numpy(), 0.5 * float((high - low).amax())
    positions = np.round((file.vertices.double().numpy() - middle) / half * STEPS)
    rows = np.concatenate([positions, influences, shares, np.round(linear * 255.0)], axis=1).astype(np.int64)
    rows, faces, origins = _welded(rows, faces)

    unpacked = np.diag([half, half, half, 1.0])
    unpacked[:3, 3] = middle
    nodes = [joint for joint, kept in zip(joints, used, strict=True) if kept]
    tree = _Tree(file, nodes)
    probes = probe(file, rest)
    keyed = [key_clip(file, wanted, probes, lambda pose: turned(file, turn_deg, pose)) for wanted in clips]
    return CompactBody(
        names=tree.names,
        parents=tree.parents,
        bind=tree.take(turned(file, turn_deg, file.bind_local)),
        joints=tree.joints,
        inverse_bind=(inverse_bind[used].astype(np.float64) @ unpacked).astype(np.float32),
        positions=rows[:, :3].astype(np.int16),
        influences=rows[:, 3:7].astype(np.uint8),
        weights=rows[:, 7:11].astype(np.uint8),
        colors=rows[:, 11:].astype(np.uint8),
        faces=faces,
        origins=origins,
        clips=tuple(tree.renumber(clip) for clip in keyed),
    )


def turned(file: RiggedFile, turn_deg: float, pose: Pose) -> Pose:
    """``pose`` with the whole body turned about +y, by way of its roots."""
    if not turn_deg:
        return pose
    half = torch.tensor(turn_deg).deg2rad() / 2.0
    quat = torch.tensor([float(half.cos()), 0.0, float(half.sin()), 0.0])
    c, s = float((2.0 * half).cos()), float((2.0 * half).sin())
    turn = torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    shifts, turns = pose.translations.clone(), pose.rotations.clone()
    for node, parent in enumerate(file.parents):
        if parent < 0:
            shifts[:, node] = shifts[:, node] @ turn.T
            turns[:, node] = quaternion_multiply(quat.expand_as(turns[:, node]), turns[:, node])
    return Pose(shifts, turns, pose.scales)


def _merged_joints(file: RiggedFile) -> tuple[list[int], Array, Array]:
    """Joints [S'] that differ, their inverse bind matrices [S', 4, 4] and the weights [V, S'] on them: a file with many
    meshes on one skin names its joints for each of them."""
    inverse = file.inverse_bind.numpy()
    place: dict[tuple[int, bytes], int] = {}
    where = [
        place.setdefault((joint, np.round(matrix, 5).tobytes()), len(place))
        for joint, matrix in zip(file.joints, inverse, strict=True)
    ]
    first = [where.index(new) for new in range(len(place))]
    weights = np.zeros((len(file.vertices), len(place)), np.float32)
    for old, new in enumerate(where):
        weights[:, new] += file.weights[:, old].numpy()
    return [file.joints[old] for old in first], inverse[first], weights


def _quantised_weights(weights: Array) -> tuple[Array, Array]:
    """The four heaviest joints [V, 4] of each vertex and their shares [V, 4] of 255, the remainder to those that
    rounding down hurt most."""
    if weights.shape[1] < INFLUENCES:
        weights = np.pad(weights, ((0, 0), (0, INFLUENCES - weights.shape[1])))
    who = np.argsort(-weights, axis=1, kind="stable")[:, :INFLUENCES]
    share = np.take_along_axis(weights, who, axis=1).astype(np.float64)
    share *= 255.0 / share.sum(axis=1, keepdims=True)
    whole = np.floor(share)
    missing = np.round(255.0 - whole.sum(axis=1))[:, None]
    rank = np.argsort(np.argsort(-(share - whole), axis=1, kind="stable"), axis=1, kind="stable")
    return who, (whole + (rank < missing)).astype(np.int64)


def _vertex_colors(file: RiggedFile, color: tuple[float, float, float] | None) -> tuple[Array, Array]:
    """Which faces [F] are not cut out, and the colour of each vertex, linear light and alpha 1, [V, 4]: the mean over
    the corners of its faces."""
    num_faces = len(file.faces)
    shown = torch.zeros(num_faces, dtype=torch.bool)
    linear = torch.zeros(num_faces, 3, 3)
    for part in file.painted:
        faces = torch.arange(part.last - part.first)
        for corner in range(3):
            barycentric = torch.full((len(faces), 3), INSIDE / 3)
            barycentric[:, corner] += 1.0 - INSIDE
            seen = part.paint.at(faces, barycentric)
            linear[part.first : part.last, corner] = linear_light(seen.rgb)
            shown[part.first : part.last] |= seen.shown
    if not shown.any():
        raise BadInput("All of the mesh is cut out by the alpha of its texture.", "Leave it out.")
    if color is not None:
        linear[:] = linear_light(torch.tensor(color))
    vertex = torch.ones(len(file.vertices), 4)
    corners, total = file.faces.reshape(-1), torch.zeros(len(file.vertices), 1)
    summed = torch.zeros(len(file.vertices), 3).index_add_(0, corners, linear.reshape(-1, 3))
    total.index_add_(0, corners, torch.ones(len(corners), 1))
    vertex[:, :3] = summed / total.clamp(min=1.0)
    return shown.numpy(), vertex.numpy()


def _welded(rows: Array, faces: Array) -> tuple[Array, Array, Array]:
    """Rows [V', D] that differ and that ``faces`` [F, 3] use, the faces that are not degenerate, and the place [V'] of
    each row among those given."""
    unique, first, where = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    faces = where.reshape(-1)[faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    order = list(dict.fromkeys(faces.reshape(-1).tolist()))  # by first use
    place = np.full(len(unique), -1)
    place[order] = np.arange(len(order))
    return unique[order], place[faces], first[order]


class _Tree:
    """The nodes that joints need: themselves, what they hang on, and a helper for a node that is two joints."""

    def __init__(self, file: RiggedFile, joints: list[int]) -> None:
        kept: set[int] = set()
        for joint in joints:
            node = joint
            while node >= 0 and node not in kept:
                kept.add(node)
                node = file.parents[node]
        self.kept = sorted(kept)
        self.place = {node: i for i, node in enumerate(self.kept)}
        parents = [self.place.get(file.parents[node], -1) for node in self.kept]
        own, taken = [], set()
        for joint in joints:
            if joint in taken:  # a skin names a node once only (glTF 2.0, 5.28)
                own.append(len(parents))
                parents.append(self.place[joint])
            else:
                own.append(self.place[joint])
                taken.add(joint)
        self.helpers = len(parents) - len(self.kept)
        self.names = (*(file.names[node] for node in self.kept), *("helper" for _ in range(self.helpers)))
        self.parents, self.joints = tuple(parents), tuple(own)

    def take(self, pose: Pose) -> Pose:
        """The kept nodes of ``pose``, and helpers, which do nothing."""
        num, idle = pose.translations.shape[0], torch.tensor([1.0, 0.0, 0.0, 0.0])
        return Pose(
            torch.cat([pose.translations[:, self.kept], torch.zeros(num, self.helpers, 3)], dim=1),
            torch.cat([pose.rotations[:, self.kept], idle.expand(num, self.helpers, 4)], dim=1),
            torch.cat([pose.scales[:, self.kept], torch.ones(num, self.helpers, 3)], dim=1),
        )

    def renumber(self, clip: KeyedClip) -> KeyedClip:
        """The tracks of kept nodes."""
        tracks = (KeyedTrack(self.place[t.node], t.path, t.values) for t in clip.tracks if t.node in self.place)
        return KeyedClip(name=clip.name, times=clip.times, tracks=tuple(tracks))
