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
from stages.gaussians.mesh import mesh_as_glb
from stages.geometry.rotations import quaternion_matrices
from stages.meshes.gltf import read_accessor
from stages.meshes.placement import Placement

COMPRESSIONS = ("KHR_draco_mesh_compression", "EXT_meshopt_compression")
TRIANGLES = 4


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
    """Read a ``.glb``, or anything that trimesh reads by way of one.

    Raises:
        BadInput: the file is missing, unreadable, compressed, or has no triangles.
    """
    if path.suffix.lower() != ".glb":
        data = mesh_as_glb(path)
    elif path.is_file():
        data = path.read_bytes()
    else:
        raise BadInput(f"There is no file {path}.", "Check the path.")
    try:
        gltf = pygltflib.GLTF2.load_from_bytes(data)
        assert gltf is not None
        used = [name for name in COMPRESSIONS if name in (gltf.extensionsRequired or [])]
        if used:
            raise BadInput(f"{path} is compressed ({', '.join(used)}).", "Export it again without compression.")
        blob = bytearray(gltf.binary_blob() or b"")
        _drop_motion(gltf)
        _embed_images(gltf, blob, path.parent)
        mesh = SourceMesh(gltf, blob, _parts(gltf, bytes(blob)))
    except BadInput:
        raise
    except Exception as error:  # pygltflib raises whatever json and struct do; indices in the file may point anywhere
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise BadInput(f"{path} cannot be read as a .glb file: {reason}.", "Export it again.") from None
    if not any(len(part.faces) for part in mesh.parts):
        raise BadInput(f"{path} has no triangles.", "Give the mesh that the asset was made from.")
    if not all(part.vertices.isfinite().all() for part in mesh.parts):
        raise BadInput(f"{path} holds vertices that are NaN or infinite.", "Export the mesh again.")
    return mesh


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


def _embed_images(gltf: Any, blob: bytearray, folder: Path) -> None:
    """Pictures in files of their own go into the binary chunk, so that the result is one file wherever it lies."""
    for image in gltf.images:
        if not image.uri or image.uri.startswith("data:") or not (folder / image.uri).is_file():
            continue
        data = (folder / image.uri).read_bytes()
        blob.extend(b"\0" * (-len(blob) % 4))
        gltf.bufferViews.append(pygltflib.BufferView(buffer=0, byteOffset=len(blob), byteLength=len(data)))
        blob.extend(data)
        image.mimeType = mimetypes.guess_type(image.uri)[0]
        image.uri, image.bufferView = None, len(gltf.bufferViews) - 1


def _parts(gltf: Any, blob: bytes) -> list[Part]:
    """Every primitive under the scene's roots."""
    parts: list[Part] = []

    def floats(accessor: int) -> Tensor:
        if gltf.accessors[accessor].sparse is not None or len(gltf.buffers) > 1:
            raise ValueError("its vertices are sparse or in other files")
        return torch.from_numpy(read_accessor(gltf, blob, accessor).astype(np.float32))

    def visit(node_id: int, parent: Tensor, depth: int) -> None:
        if depth > len(gltf.nodes):
            raise ValueError("its nodes form a circle")
        node = gltf.nodes[node_id]
        world = parent @ _local(node)
        for index, primitive in enumerate(gltf.meshes[node.mesh].primitives if node.mesh is not None else []):
            vertices = floats(primitive.attributes.POSITION)
            normals = None if primitive.attributes.NORMAL is None else floats(primitive.attributes.NORMAL)
            faces = _faces(gltf, blob, primitive, len(vertices))
            parts.append(Part(node_id, index, vertices, normals, faces, world.float()))
        for child in node.children or []:
            visit(child, world, depth + 1)

    for root in gltf.scenes[gltf.scene or 0].nodes:
        visit(root, torch.eye(4, dtype=torch.float64), 0)
    return parts


def _local(node: Any) -> Tensor:
    """A node's own transform, [4, 4] double."""
    if node.matrix:
        return torch.tensor(node.matrix, dtype=torch.float64).reshape(4, 4).T  # stored column by column
    x, y, z, w = node.rotation or (0.0, 0.0, 0.0, 1.0)
    local = torch.eye(4, dtype=torch.float64)
    local[:3, :3] = quaternion_matrices(torch.tensor([w, x, y, z], dtype=torch.float64))
    local[:3, :3] *= torch.tensor(node.scale or (1.0, 1.0, 1.0), dtype=torch.float64)
    local[:3, 3] = torch.tensor(node.translation or (0.0, 0.0, 0.0), dtype=torch.float64)
    return local


def _faces(gltf: Any, blob: bytes, primitive: Any, num_vertices: int) -> Tensor:
    """Triangles [F, 3]; none for another mode."""
    if primitive.mode not in (None, TRIANGLES):
        return torch.zeros(0, 3, dtype=torch.long)
    if primitive.indices is None:
        faces = torch.arange(num_vertices // 3 * 3).reshape(-1, 3)
    else:
        indices = read_accessor(gltf, blob, primitive.indices).astype(np.int64).reshape(-1)
        faces = torch.from_numpy(indices[: len(indices) // 3 * 3]).reshape(-1, 3)
    if len(faces) and int(faces.max()) >= num_vertices:
        raise ValueError("it has triangles whose vertices are not in the file")
    return faces


def _turned(part: Part, move: Tensor, normals: Tensor) -> Tensor:
    """What to add to the file's ``normals`` [V, 3] once its vertices have gone by ``move`` [V, 3].

    Each is turned as the surface's own normal at its vertex turns (by the smallest rotation), so that normals an artist
    has set keep their lean.
    """
    before, after = _vertex_normals(part.vertices, part.faces), _vertex_normals(part.vertices + move, part.faces)
    axis, cosine = torch.linalg.cross(before, after), (before * after).sum(dim=-1, keepdim=True)
    along = (axis * normals).sum(dim=-1, keepdim=True) / (1.0 + cosine).clamp(min=1e-3)
    turned = cosine * normals + torch.linalg.cross(axis, normals) + along * axis
    known = before.any(dim=-1, keepdim=True) & after.any(dim=-1, keepdim=True)
    return torch.where(known, torch.nn.functional.normalize(turned, dim=-1) - normals, torch.zeros_like(normals))


def _vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals [V, 3], faces weighted by area; zero where a vertex has no face with one."""
    a, b, c = vertices[faces].unbind(dim=1)
    normals = torch.linalg.cross(b - a, c - a)[:, None].expand(-1, 3, -1).reshape(-1, 3)
    return torch.nn.functional.normalize(
        torch.zeros_like(vertices).index_add(0, faces.reshape(-1), normals), dim=-1, eps=1e-20
    )
