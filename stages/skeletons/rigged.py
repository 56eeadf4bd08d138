"""Animated ``.glb`` files as bodies: meshes, skins and clips, read from the file's own data (glTF 2.0)."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pygltflib
import torch
from PIL import Image
from torch import Tensor

from stages.errors import BadInput
from stages.gaussians import Gaussians
from stages.gaussians.surface import flat_gaussians
from stages.geometry.rotations import matrix_quaternions
from stages.meshes.gltf import read_accessor
from stages.meshes.surface import SurfaceSamples, face_normals, sample_surface
from stages.skeletons.skeleton import Body, Pose, Skeleton, skin, unskin

PLAIN = ((0.7 + 0.055) / 1.055) ** 2.4
"""Grey of a mesh without any colour: 0.7 as displayed, here in linear light."""


@dataclass(frozen=True)
class Track:
    """One animated property of one node."""

    node: int
    path: str  # translation, rotation or scale
    times: np.ndarray[Any, Any]  # [K] seconds
    values: np.ndarray[Any, Any]  # [K, D]; for CUBICSPLINE [3 K, D]
    interpolation: str

    def at(self, seconds: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Values [T, D] at ``seconds`` [T], held before the first and after the last key."""
        upper = np.clip(np.searchsorted(self.times, seconds, side="right"), 1, len(self.times) - 1)
        if len(self.times) == 1:
            return np.repeat(
                self.values[-1:] if self.interpolation != "CUBICSPLINE" else self.values[1:2], len(seconds), 0
            )
        lower = upper - 1
        span = self.times[upper] - self.times[lower]
        u = np.clip((seconds - self.times[lower]) / np.maximum(span, 1e-9), 0.0, 1.0)[:, None]
        if self.interpolation == "STEP":
            return np.where(u >= 1.0, self.values[upper], self.values[lower])
        if self.interpolation == "CUBICSPLINE":
            keys = self.values.reshape(len(self.times), 3, -1)  # in-tangent, value, out-tangent
            p0, m0 = keys[lower, 1], keys[lower, 2] * span[:, None]
            p1, m1 = keys[upper, 1], keys[upper, 0] * span[:, None]
            u2, u3 = u * u, u * u * u
            value = (2 * u3 - 3 * u2 + 1) * p0 + (u3 - 2 * u2 + u) * m0 + (3 * u2 - 2 * u3) * p1 + (u3 - u2) * m1
        else:
            a, b = self.values[lower], self.values[upper]
            if self.path == "rotation":
                b = np.where((a * b).sum(-1, keepdims=True) < 0, -b, b)
            value = (1 - u) * a + u * b
        if self.path == "rotation":
            value = value / np.linalg.norm(value, axis=-1, keepdims=True)
        return value


def _plain(clip: str) -> str:
    """ "walk" of "Armature|Walk", as Blender writes it."""
    return clip.lower().rpartition("|")[2]


@dataclass(frozen=True)
class RiggedFile:
    """A glTF file taken apart: geometry in the bind pose, skeleton, clips."""

    vertices: Tensor  # [V, 3] bind pose
    faces: Tensor  # [F, 3]
    face_colors: Tensor  # [F, 3, 3] displayed colour at each corner
    textures: list[tuple[Tensor, Tensor, Tensor]]  # (faces with this texture [F], uv [F, 3, 2], image [H, W, 3])
    weights: Tensor  # [V, S]
    parents: list[int]
    joints: list[int]
    inverse_bind: Tensor  # [S, 4, 4]
    bind_local: Pose  # the nodes' own transforms
    clips: dict[str, list[Track]]
    places: dict[tuple[int, int], slice]  # which of the vertices are a node's n-th primitive's

    @property
    def skeleton(self) -> Skeleton:
        """In the file's own place and units."""
        return Skeleton(parents=self.parents, joints=self.joints, inverse_bind=self.inverse_bind, world=torch.eye(4))

    def clip_seconds(self, clip: str) -> float:
        """Length of a clip."""
        return float(max(track.times[-1] for track in self.clips[clip]))

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
        clip, at, text = name.rpartition("@") if name not in self.clips else (name, "", "")
        if not at:
            clip, text = name, "0"
        if clip == "rest" and "rest" not in map(_plain, self.clips):
            return self.bind_local
        clip = self.find_clip(clip, others=("rest",))
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not 0.0 <= seconds <= self.clip_seconds(clip):
            raise BadInput(f"{clip} has no moment {text!r}: it lasts {self.clip_seconds(clip):.2f} s.", "CLIP@SECONDS.")
        return self.pose(clip, torch.tensor([seconds], dtype=torch.float64))

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

    def gaussians(self, pose: Pose, num_gaussians: int, generator: torch.Generator) -> Gaussians:
        """Gaussians on the surface as it is in ``pose``, in the file's own place and units."""
        posed = skin(self.vertices, self.weights, self.skeleton.joint_matrices(pose))[0]
        return self._sample(posed, num_gaussians, generator)[0]

    def _sample(
        self, vertices: Tensor, num_gaussians: int, generator: torch.Generator
    ) -> tuple[Gaussians, SurfaceSamples]:
        """Gaussians on the faces between ``vertices`` [V, 3], and where they lie."""
        samples = sample_surface(vertices, self.faces, num_gaussians, generator)
        colors = samples.interpolate(self.face_colors)
        for mask, uv, image in self.textures:
            chosen = mask[samples.faces]
            colors[chosen] *= _lookup(image, samples.interpolate(uv)[chosen])
        normals = face_normals(vertices, self.faces)[samples.faces]
        points = samples.interpolate(vertices[self.faces])
        return flat_gaussians(points, normals, colors, samples.spacing), samples


def read_rigged(path: Path) -> RiggedFile:
    """Read an animated ``.glb`` with one or more skinned meshes; a mesh without a skin follows its node.

    Raises:
        BadInput: the file is not readable as glTF, or has no mesh.
    """
    if not path.is_file():
        raise BadInput(f"There is no file {path}.", "Check the path.")
    try:
        gltf = pygltflib.GLTF2().load(str(path))
        if gltf is None or not gltf.meshes:
            raise BadInput(f"{path} has no mesh.", "Give an animated .glb file.")
        return _take_apart(gltf)
    except BadInput:
        raise
    except Exception as error:  # pygltflib raises whatever json and struct do; indices in the file may point anywhere
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise BadInput(f"{path} cannot be read as a .glb file: {reason}.", "Export it again.") from None


def clip_names(path: Path) -> list[str]:
    """Names of the clips in a ``.glb`` with a skin; none where it has no skin, or cannot be read."""
    try:
        gltf = pygltflib.GLTF2().load(str(path))
        return [clip.name or f"clip{i}" for i, clip in enumerate(gltf.animations)] if gltf.skins else []
    except Exception:  # whoever reads the mesh says what is wrong with it
        return []


def _take_apart(gltf: Any) -> RiggedFile:
    """Nodes, skins and the primitives that hang on them."""
    blob = gltf.binary_blob()
    order, parents = _sorted_nodes(gltf)
    index = {node: i for i, node in enumerate(order)}
    bind_local = _node_pose(gltf, order)

    joints: list[int] = []
    inverse_bind: list[np.ndarray[Any, Any]] = []
    geometry: list[tuple[Any, ...]] = []
    rough = Skeleton(parents=parents, joints=list(range(len(order))), inverse_bind=torch.eye(4), world=torch.eye(4))
    node_world = rough.joint_matrices(bind_local)[0]
    for node_id in order:
        node = gltf.nodes[node_id]
        if node.mesh is None:
            continue
        first = len(joints)
        if node.skin is not None:
            joint_ids = gltf.skins[node.skin].joints
            joints += [index[j] for j in joint_ids]
            accessor = gltf.skins[node.skin].inverseBindMatrices
            matrices = read_accessor(gltf, blob, accessor).reshape(-1, 4, 4).transpose(0, 2, 1)
            inverse_bind += list(matrices)
        else:
            joints.append(index[node_id])
            inverse_bind.append(torch.linalg.inv(node_world[index[node_id]]).numpy())
        for number, primitive in enumerate(gltf.meshes[node.mesh].primitives):
            transform = None if node.skin is not None else node_world[index[node_id]].numpy()
            geometry.append(((node_id, number), primitive, first, len(joints), transform))
    return _assemble(gltf, blob, geometry, parents, joints, np.stack(inverse_bind), bind_local, index)


def _assemble(
    gltf: Any, blob: bytes, geometry: list[Any], parents: list[int], joints: list[int], inverse_bind: Any,
    bind_local: Pose, index: dict[int, int],
) -> RiggedFile:  # fmt: skip
    """Concatenate the primitives and read the clips."""
    vertices: list[np.ndarray[Any, Any]] = []
    faces: list[np.ndarray[Any, Any]] = []
    face_colors, weights = [], []
    textures: list[tuple[int, int, Tensor, Tensor]] = []
    places: dict[tuple[int, int], slice] = {}
    for place, primitive, first, last, transform in geometry:
        position = read_accessor(gltf, blob, primitive.attributes.POSITION)
        if transform is not None:
            position = position @ transform[:3, :3].T + transform[:3, 3]
        if primitive.indices is None:
            corner = np.arange(len(position)).reshape(-1, 3)
        else:
            corner = read_accessor(gltf, blob, primitive.indices).reshape(-1, 3).astype(np.int64)
        skin_weights = np.zeros((len(position), len(joints)), np.float32)
        if primitive.attributes.JOINTS_0 is not None:
            who = read_accessor(gltf, blob, primitive.attributes.JOINTS_0).astype(np.int64)
            share = np.nan_to_num(read_accessor(gltf, blob, primitive.attributes.WEIGHTS_0))
            for k in range(who.shape[1]):
                np.add.at(skin_weights, (np.arange(len(position)), first + who[:, k]), share[:, k])
            skin_weights[skin_weights.sum(axis=1) <= 0.0, first] = 1.0  # unweighted vertices follow the first joint
            skin_weights /= skin_weights.sum(axis=1, keepdims=True)
        else:
            skin_weights[:, last - 1] = 1.0
        base, image = _material(gltf, blob, primitive)
        first_face = sum(len(f) for f in faces)
        if image is not None and primitive.attributes.TEXCOORD_0 is not None:
            uv = torch.from_numpy(read_accessor(gltf, blob, primitive.attributes.TEXCOORD_0)[corner])
            textures.append((first_face, first_face + len(corner), uv, image))
        before = sum(len(v) for v in vertices)
        places[place] = slice(before, before + len(position))
        faces.append(corner + before)
        vertices.append(position)
        weights.append(skin_weights)
        tint = np.ones((len(position), 3))
        if primitive.attributes.COLOR_0 is not None:
            tint = read_accessor(gltf, blob, primitive.attributes.COLOR_0)[:, :3]
        face_colors.append(_displayed(base * tint)[corner])
    num_faces = sum(len(f) for f in faces)
    clips = {
        (clip.name or f"clip{i}"): [
            Track(
                index[channel.target.node],
                channel.target.path,
                read_accessor(gltf, blob, clip.samplers[channel.sampler].input).reshape(-1).astype(np.float64),
                read_accessor(gltf, blob, clip.samplers[channel.sampler].output).astype(np.float64),
                clip.samplers[channel.sampler].interpolation or "LINEAR",
            )
            for channel in clip.channels
            if channel.target.node is not None and channel.target.path in ("translation", "rotation", "scale")
        ]
        for i, clip in enumerate(gltf.animations)
    }
    return RiggedFile(
        vertices=torch.from_numpy(np.concatenate(vertices)).float(),
        faces=torch.from_numpy(np.concatenate(faces)),
        face_colors=torch.from_numpy(np.concatenate(face_colors)).float(),
        textures=[_spread(num_faces, *texture) for texture in textures],
        weights=torch.from_numpy(np.concatenate(weights)).float(),
        parents=parents,
        joints=joints,
        inverse_bind=torch.from_numpy(inverse_bind).float(),
        bind_local=bind_local,
        clips=clips,
        places=places,
    )


def _spread(num_faces: int, first: int, last: int, uv: Tensor, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A texture's faces as a mask over all faces, its coordinates padded to all."""
    mask, all_uv = torch.zeros(num_faces, dtype=torch.bool), torch.zeros(num_faces, 3, 2)
    mask[first:last], all_uv[first:last] = True, uv
    return mask, all_uv, image


def _material(gltf: Any, blob: bytes, primitive: Any) -> tuple[np.ndarray[Any, Any], Tensor | None]:
    """Base colour [3] in linear light, and the texture [H, W, 3] it multiplies, as displayed, if it has one."""
    if primitive.material is None:
        return np.full(3, PLAIN if primitive.attributes.COLOR_0 is None else 1.0), None
    shading = gltf.materials[primitive.material].pbrMetallicRoughness
    factor = np.array((shading.baseColorFactor if shading else None) or [1.0] * 4)[:3]
    if shading is None or shading.baseColorTexture is None:
        return factor, None
    source = gltf.images[gltf.textures[shading.baseColorTexture.index].source]
    if source.bufferView is None:
        return factor, None
    view = gltf.bufferViews[source.bufferView]
    start = view.byteOffset or 0
    picture = Image.open(io.BytesIO(blob[start : start + view.byteLength])).convert("RGB")
    return factor, torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255.0)


def _displayed(linear: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """sRGB of linear light."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-8) ** (1 / 2.4) - 0.055)


def _lookup(image: Tensor, uv: Tensor) -> Tensor:
    """Nearest texels [M, 3] at ``uv`` [M, 2], repeated outside [0, 1]."""
    height, width = image.shape[:2]
    column = ((uv[:, 0] % 1.0) * width).long().clamp(max=width - 1)
    row = ((uv[:, 1] % 1.0) * height).long().clamp(max=height - 1)
    return image[row, column]


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


def _sorted_nodes(gltf: Any) -> tuple[list[int], list[int]]:
    """Node ids with parents first, and for each the position of its parent (-1 at roots)."""
    parent_of = {child: node for node, n in enumerate(gltf.nodes) for child in (n.children or [])}
    order: list[int] = []
    stack = [node for node in range(len(gltf.nodes)) if node not in parent_of]
    while stack:
        node = stack.pop()
        order.append(node)
        stack += gltf.nodes[node].children or []
    place = {node: i for i, node in enumerate(order)}
    return order, [place[parent_of[node]] if node in parent_of else -1 for node in order]


def _node_pose(gltf: Any, order: list[int]) -> Pose:
    """The nodes' own local transforms as a one-frame pose."""
    translations, rotations, scales = [], [], []
    for node_id in order:
        node = gltf.nodes[node_id]
        if node.matrix is not None and node.translation is None and node.rotation is None:
            matrix = torch.tensor(node.matrix).reshape(4, 4).T
            scale = matrix[:3, :3].norm(dim=0)
            translations.append(matrix[:3, 3].tolist())
            rotations.append(matrix_quaternions((matrix[:3, :3] / scale)[None])[0].tolist())
            scales.append(scale.tolist())
            continue
        x, y, z, w = node.rotation or [0.0, 0.0, 0.0, 1.0]
        translations.append(node.translation or [0.0] * 3)
        rotations.append([w, x, y, z])
        scales.append(node.scale or [1.0] * 3)
    return Pose(torch.tensor(translations)[None], torch.tensor(rotations)[None], torch.tensor(scales)[None])
