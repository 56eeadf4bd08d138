"""Animated ``.glb`` files as bodies: meshes, skins and clips, read from the file's own data (glTF 2.0)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.errors import AnimusError, BadInput
from stages.gaussians import Gaussians
from stages.gaussians.mesh import painted_gaussians
from stages.meshes.gltf import Array, GltfFile, open_gltf, understanding
from stages.meshes.light import Light
from stages.meshes.materials import read_paint, tell_extensions
from stages.meshes.paint import Painted
from stages.meshes.scene import Primitive, local_transform, primitives, sorted_nodes
from stages.meshes.surface import SurfaceSamples
from stages.skeletons.skeleton import Body, Pose, Skeleton, skin, unskin
from stages.skeletons.tracks import Morph, Track, read_morph, read_tracks


def _plain(clip: str) -> str:
    """ "walk" of "Armature|Walk", as Blender writes it."""
    return clip.lower().rpartition("|")[2]


@dataclass(frozen=True)
class RiggedFile:
    """A glTF file taken apart: geometry in the bind pose, skeleton, clips."""

    vertices: Tensor  # [V, 3] bind pose
    faces: Tensor  # [F, 3]
    painted: tuple[Painted, ...]  # the colours
    weights: Tensor  # [V, S]
    names: list[str]  # of the J nodes
    parents: list[int]
    joints: list[int]
    inverse_bind: Tensor  # [S, 4, 4]
    bind_local: Pose  # the nodes' own transforms
    clips: dict[str, list[Track]]
    places: dict[tuple[int, int], slice]  # which of the vertices are a node's n-th primitive's
    unused: tuple[str, ...]  # what the file names and cannot be used
    node_ids: list[int]  # of the J nodes, in the file
    skins: tuple[range, ...] = ()  # of each node with a skinned mesh, which of the S joints are its own
    morphs: tuple[Morph, ...] = ()
    told: tuple[str, ...] = ()  # whole sentences about how the file was read
    weighted: bool = True  # whether some vertex follows something: skins whose weights are all zero say nothing

    @property
    def skeleton(self) -> Skeleton:
        """In the file's own place and units."""
        return Skeleton(parents=self.parents, joints=self.joints, inverse_bind=self.inverse_bind, world=torch.eye(4))

    def clip_seconds(self, clip: str) -> float:
        """Length of a clip."""
        return float(max((track.times[-1] for track in self.clips[clip]), default=0.0))

    def find_clip(self, name: str, others: tuple[str, ...] = ()) -> str:
        """The clip called ``name``, in whatever case and without the armature that Blender puts before it.

        Raises ``BadInput``: there is none; the message names those that there are, and ``others``.
        """
        if name in self.clips:
            return name
        known = {_plain(own): own for own in reversed(self.clips)}
        if name.lower() not in known:
            raise BadInput(f"There is no clip {name!r}.", f"There are: {', '.join((*known.values(), *others))}.")
        return known[name.lower()]

    def named_pose(self, name: str) -> Pose:
        """The pose that ``CLIP@SECONDS``, ``CLIP`` (its start) or ``rest`` (the nodes' own transforms) names.

        Raises ``BadInput``: no such clip, or it does not last that long.
        """
        moment = self._moment(name)
        return self.bind_local if moment is None else self.pose(moment[0], torch.tensor([moment[1]]).double())

    def shaped(self, name: str) -> RiggedFile:
        """The file with its morph targets as they are in a pose, named as in ``named_pose``, which it raises as."""
        moment = self._moment(name)
        if moment is None:
            return self
        vertices = self.vertices.clone()
        for morph in self.morphs:
            for track in self.clips[moment[0]]:
                if track.path == "weights" and track.node == morph.node:
                    weights = torch.from_numpy(track.at(np.array([moment[1]]))[0]).float()
                    more = weights[: len(morph.weights)] - morph.weights[: len(weights)]
                    vertices[morph.vertices] += torch.einsum("k,kvd->vd", more, morph.targets[: len(more)])
        return replace(self, vertices=vertices)

    def morphs_in(self, clip: str) -> bool:
        """Whether a clip moves morph targets."""
        return any(track.path == "weights" for track in self.clips[clip])

    def _moment(self, name: str) -> tuple[str, float] | None:
        """The clip and the seconds that a pose's name means; None for the nodes' own transforms."""
        clip, at, text = name.rpartition("@") if name not in self.clips else (name, "", "")
        if not at:
            clip, text = name, "0"
        if clip == "rest" and "rest" not in map(_plain, self.clips):
            return None
        clip = self.find_clip(clip, others=("rest",))
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not 0.0 <= seconds <= self.clip_seconds(clip):
            raise BadInput(f"{clip} has no moment {text!r}: it lasts {self.clip_seconds(clip):.2f} s.", "CLIP@SECONDS.")
        return clip, seconds

    def pose(self, clip: str, seconds: Tensor) -> Pose:
        """The nodes' local transforms at ``seconds`` [T] of ``clip``; nodes without a track keep their own."""
        num = len(seconds)
        translations, rotations, scales = (
            t[:1].repeat(num, 1, 1)
            for t in (self.bind_local.translations, self.bind_local.rotations, self.bind_local.scales)
        )
        for track in self.clips[clip]:
            value = torch.from_numpy(track.at(seconds.double().numpy())).float()
            if track.path == "translation":
                translations[:, track.node] = value
            elif track.path == "rotation":
                rotations[:, track.node] = value[:, [3, 0, 1, 2]]
            elif track.path == "scale":
                scales[:, track.node] = value
        return Pose(translations, rotations, scales)

    def body(
        self, rest: Pose, num_gaussians: int, generator: torch.Generator, turn_deg: float = 0.0, size: float = 2.0
    ) -> Body:
        """Gaussians on the surface, at rest in ``rest``; centred, turned about y, longest side ``size``."""
        standing = skin(self.vertices, self.weights, self.skeleton.joint_matrices(rest))[0]
        world = _normalising(standing, turn_deg, size)
        skeleton = Skeleton(parents=self.parents, joints=self.joints, inverse_bind=self.inverse_bind, world=world)
        standing = standing @ world[:3, :3].T + world[:3, 3]
        gaussians, samples = self._sample(standing, num_gaussians, generator)
        weights = samples.interpolate(self.weights[self.faces])
        points = gaussians.means
        # not the mesh's own bind position there: between vertices, skinning that would miss the surface by up to 0.015
        bind_means = unskin(points, weights, skeleton.joint_matrices(rest)[0])
        return Body(gaussians=gaussians, bind_means=bind_means, weights=weights, skeleton=skeleton, rest=rest)

    def gaussians(
        self, pose: Pose, num_gaussians: int, generator: torch.Generator, light: Light | None = None
    ) -> Gaussians:
        """Gaussians on the surface as it is in ``pose``, in the file's own place and units; in the file's colours, or
        with ``light`` on them."""
        posed = skin(self.vertices, self.weights, self.skeleton.joint_matrices(pose))[0]
        return self._sample(posed, num_gaussians, generator, light)[0]

    def _sample(
        self, vertices: Tensor, num_gaussians: int, generator: torch.Generator, light: Light | None = None
    ) -> tuple[Gaussians, SurfaceSamples]:
        """Gaussians on the faces between ``vertices`` [V, 3], and where they lie."""
        return painted_gaussians(vertices, self.faces, self.painted, num_gaussians, generator, light)


def read_rigged(path: Path) -> RiggedFile:
    """Read an animated ``.glb`` or ``.gltf`` with one or more skinned meshes; a mesh without a skin follows its node.

    Raises:
        BadInput: the file is missing, compressed or not readable as glTF, or has no mesh.
    """
    file = open_gltf(path)
    with understanding(path):
        parts = primitives(file)
        if not any(len(part.faces) for part in parts):
            raise BadInput(f"{path} has no mesh.", "Give an animated .glb file.")
        return _take_apart(file, parts)


def clip_names(path: Path) -> list[str]:
    """Names of the clips in a ``.glb`` or ``.gltf``; none where it cannot be read."""
    try:
        gltf = open_gltf(path).gltf
    except AnimusError:  # whoever reads the mesh says what is wrong with it
        return []
    return [clip.name or f"clip{i}" for i, clip in enumerate(gltf.animations)]


def _take_apart(file: GltfFile, parts: list[Primitive]) -> RiggedFile:
    """Nodes, skins, and the primitives that hang on them."""
    tell_extensions(file)
    order, parents = sorted_nodes(file)
    index = {node: i for i, node in enumerate(order)}
    bind_local = _node_pose(file, order)
    rough = Skeleton(parents=parents, joints=list(range(len(order))), inverse_bind=torch.eye(4), world=torch.eye(4))
    node_world = rough.joint_matrices(bind_local)[0].numpy()

    joints: list[int] = []
    inverse_bind: list[Array] = []
    own_joints: dict[int, range] = {}  # of each node with a mesh, which of the joints are its own
    for node_id in dict.fromkeys(part.node for part in parts):
        first, skin_id = len(joints), file.gltf.nodes[node_id].skin
        if skin_id is not None:
            joints += [index[joint] for joint in file.gltf.skins[skin_id].joints]
            inverse_bind += _inverse_bind(file, skin_id)
        else:
            joints.append(index[node_id])
            inverse_bind.append(np.linalg.pinv(node_world[index[node_id]]))  # it may be scaled to nothing
        own_joints[node_id] = range(first, len(joints))

    vertices, faces, weights, painted = [], [], [], []
    morphs: list[Morph | None] = []
    places: dict[tuple[int, int], slice] = {}
    num_vertices = num_faces = 0
    weighted = False
    for part in parts:
        position, linear = part.vertices, np.eye(3)
        if file.gltf.nodes[part.node].skin is None:
            world = node_world[index[part.node]]
            position, linear = position @ world[:3, :3].T + world[:3, 3], world[:3, :3]
        vertices.append(position)
        faces.append(part.faces + num_vertices)
        share, known = _skin_weights(file, part, own_joints[part.node], len(joints))
        weights.append(share)
        weighted |= known
        painted.append(Painted(num_faces, num_faces + len(part.faces), read_paint(file, part)))
        own = slice(num_vertices, num_vertices + len(position))
        places[part.node, part.number] = own
        morphs.append(read_morph(file, part, index[part.node], own, linear))
        num_vertices, num_faces = num_vertices + len(position), num_faces + len(part.faces)
    return RiggedFile(
        vertices=torch.from_numpy(np.concatenate(vertices)).float(),
        faces=torch.from_numpy(np.concatenate(faces)),
        painted=tuple(painted),
        weights=torch.from_numpy(np.concatenate(weights)).float(),
        names=[file.gltf.nodes[node].name or f"node{node}" for node in order],
        parents=parents,
        joints=joints,
        inverse_bind=torch.from_numpy(np.stack(inverse_bind)).float(),
        bind_local=bind_local,
        clips={name: read_tracks(file, name, clip, index) for name, clip in _named_clips(file)},
        places=places,
        morphs=tuple(morph for morph in morphs if morph is not None),
        unused=tuple(file.missing),
        told=tuple(file.told),
        node_ids=order,
        skins=tuple(own for node_id, own in own_joints.items() if file.gltf.nodes[node_id].skin is not None),
        weighted=weighted,
    )


def _inverse_bind(file: GltfFile, skin_id: int) -> list[Array]:
    """The matrices [4, 4] from the bind pose to each joint of a skin; identities where it gives none (3.7.3.1)."""
    source = file.gltf.skins[skin_id]
    if source.inverseBindMatrices is None:
        return [np.eye(4, dtype=np.float32)] * len(source.joints)
    return list(file.accessor(source.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1))


def _skin_weights(file: GltfFile, part: Primitive, own: range, num_joints: int) -> tuple[Array, bool]:
    """Skin weights [V, S] of a primitive whose node has the joints ``own``, rows sum to 1; and whether the file gives
    any above zero."""
    num = len(part.vertices)
    weights = np.zeros((num, num_joints), np.float32)
    sets = 0
    while (who := file.attribute(part.source, f"JOINTS_{sets}")) is not None:
        share = file.attribute(part.source, f"WEIGHTS_{sets}")
        if share is None:
            break
        for k in range(who.shape[1]):
            np.add.at(weights, (np.arange(num), own.start + who[:, k].astype(np.int64)), np.nan_to_num(share[:, k]))
        sets += 1
    if not sets:
        weights[:, own.stop - 1] = 1.0
        return weights, file.gltf.nodes[part.node].skin is None
    alone = weights.sum(axis=1) <= 0.0
    weights[alone, own.start] = 1.0  # unweighted vertices follow the first joint
    return np.asarray(weights / weights.sum(axis=1, keepdims=True)), not alone.all()


def _named_clips(file: GltfFile) -> list[tuple[str, Any]]:
    return [(clip.name or f"clip{i}", clip) for i, clip in enumerate(file.gltf.animations)]


def _node_pose(file: GltfFile, order: list[int]) -> Pose:
    """The nodes' own local transforms as a one-frame pose."""
    shifts, turns, scales = zip(*(local_transform(file.gltf.nodes[node_id]) for node_id in order), strict=True)
    return Pose(torch.tensor(shifts)[None], torch.tensor(turns)[None], torch.tensor(scales)[None])


def _normalising(points: Tensor, turn_deg: float, size: float) -> Tensor:
    """Matrix [4, 4] that turns about y, centres the box and scales its longest side to ``size``."""
    angle = torch.tensor(turn_deg).deg2rad()
    c, s = float(angle.cos()), float(angle.sin())
    turn = torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    turned = points @ turn.T
    low, high = turned.amin(0), turned.amax(0)
    scale = size / float((high - low).max())
    world = torch.eye(4)
    world[:3, :3] = scale * turn
    world[:3, 3] = -scale * 0.5 * (low + high)
    return world
