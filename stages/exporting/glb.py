"""The motion on a mesh: an animated ``.glb`` with one morph target a frame (glTF 2.0, 3.7.2.2).

The file keeps its nodes, materials, textures, vertex colours and texture coordinates. Skins, animations and morph
targets of its own go: the mesh then stands in the pose in which ``reconstruct`` sampled it, and has only the new
motion. Between frames the viewer blends two neighbouring targets, so vertices move in straight lines.
"""

from __future__ import annotations

import copy
import mimetypes
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pygltflib
import torch
from torch import Tensor

from stages.errors import BadInput
from stages.meshes.gltf import SUFFIXES, GltfFile, open_gltf, parse_gltf, understanding
from stages.meshes.mesh import refuse_splat
from stages.meshes.placement import Placement
from stages.meshes.scene import Primitive, primitives
from stages.meshes.surface import vertex_normals
from stages.meshes.write_plain import as_glb


@dataclass(frozen=True)
class Part:
    """A primitive where a node puts it."""

    node: int
    primitive: int  # of the node's own mesh
    vertices: Tensor  # [V, 3] in the mesh's frame
    normals: Tensor | None  # [V, 3] likewise
    faces: Tensor  # [F, 3]; none for points and lines
    world_node: Tensor  # [4, 4]

    @property
    def placed(self) -> Tensor:
        """The vertices in the file's world, [V, 3]."""
        return self.vertices @ self.world_node[:3, :3].T + self.world_node[:3, 3]


@dataclass(frozen=True)
class SourceMesh:
    """A mesh file taken apart, ready to be given targets: every node has a mesh of its own."""

    gltf: pygltflib.GLTF2
    blob: bytearray
    parts: list[Part]

    @property
    def num_vertices(self) -> int:
        """V over all parts."""
        return sum(len(part.vertices) for part in self.parts)

    def surface(self) -> tuple[Tensor, Tensor]:
        """All vertices [V, 3] in the file's world and all faces [F, 3]."""
        first = np.cumsum([0, *(len(part.vertices) for part in self.parts)])
        faces = [part.faces + int(start) for part, start in zip(self.parts, first, strict=False)]
        return torch.cat([part.placed for part in self.parts]), torch.cat(faces)


def read_mesh(path: Path) -> SourceMesh:
    """Read a ``.glb`` or ``.gltf``, or anything that trimesh reads by way of one.

    Raises:
        BadInput: the file is missing, unreadable, compressed, or has no triangles.
    """
    with understanding(path):
        file = open_gltf(path) if path.suffix.lower() in SUFFIXES else parse_gltf(path, as_glb(path))
        found = primitives(file)
        _drop_motion(file.gltf)
        blob = bytearray(file.blob)
        _embed_images(file, blob)
        parts = [_part(source) for source in found]
        _keep_morphs(file.gltf, blob, found)
    mesh = SourceMesh(file.gltf, blob, parts)
    if not any(len(part.faces) for part in mesh.parts):
        refuse_splat(file)
        raise BadInput(f"{path} has no triangles.", "Give the mesh that the asset was made from.")
    if not all(part.vertices.isfinite().all() for part in mesh.parts):
        raise BadInput(f"{path} holds vertices that are NaN or infinite.", "Export the mesh again.")
    return mesh


def _part(source: Primitive) -> Part:
    """A primitive of the reader as tensors."""
    normals = None if source.normals is None else torch.from_numpy(source.normals)
    faces, world = torch.from_numpy(source.faces), torch.from_numpy(source.world_node).float()
    return Part(source.node, source.number, torch.from_numpy(source.vertices), normals, faces, world)


def _keep_morphs(gltf: Any, blob: bytearray, found: list[Primitive]) -> None:
    """Write what the default weights of morph targets had moved as the mesh's own shape: the targets are gone."""
    writer = _Writer(gltf, blob)
    for source in found:
        if source.morphed:
            attributes = gltf.meshes[gltf.nodes[source.node].mesh].primitives[source.number].attributes
            attributes.POSITION = writer.add(source.vertices, bounds=True)
            if source.normals is not None:
                attributes.NORMAL = writer.add(source.normals)


def in_pose(mesh: SourceMesh, vertices: dict[tuple[int, int], Tensor]) -> SourceMesh:
    """The mesh in another pose: of every node's n-th primitive the ``vertices`` [V, 3] in the file's world;
    normals turn with the surface."""
    gltf, blob = copy.deepcopy(mesh.gltf), bytearray(mesh.blob)
    writer, parts = _Writer(gltf, blob), []
    for part in mesh.parts:
        to_node = torch.linalg.inv(part.world_node.double())
        posed = vertices[part.node, part.primitive].double() @ to_node[:3, :3].T + to_node[:3, 3]
        move, normals = posed.float() - part.vertices, part.normals
        normals = None if normals is None else normals + _turned(part, move, normals)
        attributes = gltf.meshes[gltf.nodes[part.node].mesh].primitives[part.primitive].attributes
        attributes.POSITION = writer.add(posed.float().numpy(), bounds=True)
        if normals is not None:
            attributes.NORMAL = writer.add(normals.numpy())
        parts.append(replace(part, vertices=posed.float(), normals=normals))
    return SourceMesh(gltf, blob, parts)


def animate_mesh(
    mesh: SourceMesh,
    displaced: Callable[[Tensor], Tensor],
    placement: Placement,
    *,
    num_frames: int,
    fps: int,
    title: str,
    credit: str,
) -> bytes:
    """The file with its motion. ``displaced`` says how far points [V, 3] of the asset have gone: [T, V, 3]."""
    moves = [_moves(part, displaced, placement) for part in mesh.parts]
    moving = [t for t in range(num_frames) if any(bool(move[t].any()) for move in moves)]
    gltf, blob = copy.deepcopy(mesh.gltf), bytearray(mesh.blob)
    writer = _Writer(gltf, blob)
    for part, move in zip(mesh.parts, moves, strict=True):
        own_mesh = gltf.meshes[gltf.nodes[part.node].mesh]
        primitive, normals = own_mesh.primitives[part.primitive], part.normals
        primitive.targets = [
            pygltflib.Attributes(
                POSITION=writer.add(move[t].numpy(), bounds=True),
                NORMAL=None if normals is None else writer.add(_turned(part, move[t], normals).numpy()),
            )
            for t in moving
        ]
        own_mesh.weights = [0.0] * len(moving)
    if moving:
        _add_animation(gltf, writer, sorted({part.node for part in mesh.parts}), moving, num_frames, fps, title)
    gltf.asset.copyright = ", ".join(text for text in (gltf.asset.copyright, credit) if text)
    gltf.buffers = [pygltflib.Buffer(byteLength=len(blob))]
    gltf.set_binary_blob(bytes(blob))
    return b"".join(gltf.save_to_bytes())


def _moves(part: Part, displaced: Callable[[Tensor], Tensor], placement: Placement) -> Tensor:
    """Displacements [T, V, 3] of a part's vertices in its mesh's own frame."""
    in_file = placement.moves_to_file(displaced(placement.to_asset(part.placed)))
    return (in_file.double() @ torch.linalg.inv(part.world_node[:3, :3].double()).T).float()


def _add_animation(
    gltf: Any, writer: _Writer, nodes: list[int], moving: list[int], num_frames: int, fps: int, title: str
) -> None:
    """One clip: at frame t the target of frame t has weight 1; frames that move nothing have no target."""
    weights = np.zeros((num_frames, len(moving)), dtype=np.float32)
    weights[moving, range(len(moving))] = 1.0
    times = writer.add(np.arange(num_frames, dtype=np.float32) / fps, bounds=True, vertices=False)
    sampler = pygltflib.AnimationSampler(
        input=times, output=writer.add(weights.reshape(-1), vertices=False), interpolation="LINEAR"
    )
    channels = [
        pygltflib.AnimationChannel(sampler=0, target=pygltflib.AnimationChannelTarget(node=node, path="weights"))
        for node in nodes
    ]
    gltf.animations = [pygltflib.Animation(name=title, samplers=[sampler], channels=channels)]


class _Writer:
    """Appends float32 arrays to a file's binary chunk."""

    def __init__(self, gltf: Any, blob: bytearray) -> None:
        self.gltf, self.blob = gltf, blob

    def add(self, values: np.ndarray[Any, Any], *, bounds: bool = False, vertices: bool = True) -> int:
        """The accessor of ``values`` [count] or [count, 3]."""
        self.blob.extend(b"\0" * (-len(self.blob) % 4))
        view = pygltflib.BufferView(buffer=0, byteOffset=len(self.blob), byteLength=values.nbytes)
        if vertices:
            view.target = pygltflib.ARRAY_BUFFER
        self.blob.extend(np.ascontiguousarray(values, dtype="<f4").tobytes())
        accessor = pygltflib.Accessor(
            bufferView=len(self.gltf.bufferViews),
            componentType=pygltflib.FLOAT,
            count=len(values),
            type="SCALAR" if values.ndim == 1 else "VEC3",
        )
        if bounds:
            accessor.min = np.atleast_1d(values.min(axis=0)).tolist()
            accessor.max = np.atleast_1d(values.max(axis=0)).tolist()
        self.gltf.bufferViews.append(view)
        self.gltf.accessors.append(accessor)
        return len(self.gltf.accessors) - 1


def _drop_motion(gltf: Any) -> None:
    """Remove what would move the mesh otherwise, and give every node a mesh of its own: moves differ by node."""
    gltf.animations, gltf.skins = [], []
    owned: set[int] = set()
    for node in gltf.nodes:
        node.skin, node.weights = None, []
        if node.mesh is None:
            continue
        if node.mesh in owned:
            gltf.meshes.append(copy.deepcopy(gltf.meshes[node.mesh]))
            node.mesh = len(gltf.meshes) - 1
        owned.add(node.mesh)
    for mesh in gltf.meshes:
        mesh.weights = []
        for primitive in mesh.primitives:
            primitive.targets = []
            for name in [name for name in vars(primitive.attributes) if name.startswith(("JOINTS_", "WEIGHTS_"))]:
                setattr(primitive.attributes, name, None)


def _embed_images(file: GltfFile, blob: bytearray) -> None:
    """Pictures in files of their own go into the binary chunk, so that the result is one file wherever it lies."""
    for number, image in enumerate(file.gltf.images):
        if not image.uri or image.uri.startswith("data:"):
            continue
        data = file.picture(number)
        if data is None:
            continue
        blob.extend(b"\0" * (-len(blob) % 4))
        file.gltf.bufferViews.append(pygltflib.BufferView(buffer=0, byteOffset=len(blob), byteLength=len(data)))
        blob.extend(data)
        image.mimeType = mimetypes.guess_type(image.uri)[0]
        image.uri, image.bufferView = None, len(file.gltf.bufferViews) - 1


def _turned(part: Part, move: Tensor, normals: Tensor) -> Tensor:
    """What to add to the file's ``normals`` [V, 3] once its vertices have gone by ``move`` [V, 3].

    Each is turned as the surface's own normal at its vertex turns (by the smallest rotation), so that normals an artist
    has set keep their lean.
    """
    before, after = vertex_normals(part.vertices, part.faces), vertex_normals(part.vertices + move, part.faces)
    axis, cosine = torch.linalg.cross(before, after), (before * after).sum(dim=-1, keepdim=True)
    along = (axis * normals).sum(dim=-1, keepdim=True) / (1.0 + cosine).clamp(min=1e-3)
    turned = cosine * normals + torch.linalg.cross(axis, normals) + along * axis
    known = before.any(dim=-1, keepdim=True) & after.any(dim=-1, keepdim=True)
    return torch.where(known, torch.nn.functional.normalize(turned, dim=-1) - normals, torch.zeros_like(normals))
