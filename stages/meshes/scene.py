"""The scene of a glTF 2.0 file: its tree of nodes, and the triangles that hang on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from stages.geometry.rotations import matrix_quaternions, quaternion_matrices
from stages.meshes.gltf import Array, GltfFile

VISIBILITY = "KHR_node_visibility"
TRIANGLES, STRIP, FAN = 4, 5, 6


@dataclass(frozen=True, kw_only=True)
class Primitive:
    """A primitive of the mesh that a node shows."""

    node: int  # id in the file
    number: int  # among the mesh's primitives
    source: Any  # what pygltflib holds of it
    vertices: Array  # [V, 3] float32 in the mesh's frame, morph targets applied with their default weights
    normals: Array | None  # [V, 3] likewise
    tangents: Array | None  # [V, 4] float32 in the mesh's frame, the last a sign
    faces: Array  # [F, 3] int64; none for points and lines
    world_node: Array  # [4, 4] float64
    morphed: bool  # whether default weights have moved it


def primitives(file: GltfFile) -> list[Primitive]:
    """Every primitive that the file's scene shows.

    Raises:
        ValueError: nodes form a circle, a triangle names a vertex that is not there, and whatever numpy raises.
    """
    worlds, found = world_matrices(file), []
    shown = shown_nodes(file)
    lines = False
    for node_id in sorted_nodes(file)[0]:
        node = file.gltf.nodes[node_id]
        if node.mesh is None or node_id not in shown:
            continue
        mesh = file.gltf.meshes[node.mesh]
        weights = list(node.weights or mesh.weights or [])
        for number, source in enumerate(mesh.primitives):
            vertices = file.attribute(source, "POSITION")
            if vertices is None:
                continue
            normals, tangents = file.attribute(source, "NORMAL"), file.attribute(source, "TANGENT")
            vertices = vertices.astype(np.float32) + _morph(file, source, weights, "POSITION")
            if normals is not None:
                normals = normals.astype(np.float32) + _morph(file, source, weights, "NORMAL")
            faces = _faces(file, source, len(vertices))
            lines |= not len(faces)
            found.append(
                Primitive(
                    node=node_id, number=number, source=source, vertices=vertices, normals=normals,
                    tangents=None if tangents is None else tangents.astype(np.float32),
                    faces=faces, world_node=worlds[node_id],
                    morphed=any(weights) and bool(source.targets),
                )
            )  # fmt: skip
    if lines:
        file.miss("points or lines, which are left away")
    if len(file.gltf.scenes) > 1:
        name = file.gltf.scenes[file.gltf.scene or 0].name or f"number {file.gltf.scene or 0}"
        file.tell(f"{file.path} has {len(file.gltf.scenes)} scenes; {name} is taken.")
    return found


def sorted_nodes(file: GltfFile) -> tuple[list[int], list[int]]:
    """Node ids with parents first, and for each the position of its parent (-1 at roots)."""
    nodes = file.gltf.nodes
    parent_of = {child: node for node, n in enumerate(nodes) for child in (n.children or [])}
    order: list[int] = []
    stack = [node for node in range(len(nodes)) if node not in parent_of]
    while stack:
        node = stack.pop()
        order.append(node)
        if len(order) > len(nodes):
            raise ValueError("a node has two parents")
        stack += nodes[node].children or []
    if len(order) < len(nodes):
        raise ValueError("its nodes form a circle")
    place = {node: i for i, node in enumerate(order)}
    return order, [place[parent_of[node]] if node in parent_of else -1 for node in order]


def world_matrices(file: GltfFile) -> dict[int, Array]:
    """Where every node is: [4, 4] float64 by its id."""
    order, parents = sorted_nodes(file)
    worlds: list[Array] = []
    for node_id, parent in zip(order, parents, strict=True):
        local = _local(file.gltf.nodes[node_id])
        worlds.append(local if parent < 0 else worlds[parent] @ local)
    return dict(zip(order, worlds, strict=True))


def local_transform(node: Any) -> tuple[list[float], list[float], list[float]]:
    """A node's own shift [3], turn [4] wxyz and scale [3]; a matrix is taken apart (it has no shear, 3.5.3)."""
    if not node.matrix:
        x, y, z, w = node.rotation or (0.0, 0.0, 0.0, 1.0)
        return list(node.translation or [0.0] * 3), [w, x, y, z], list(node.scale or [1.0] * 3)
    matrix = torch.tensor(node.matrix, dtype=torch.float32).reshape(4, 4).T  # stored column by column
    scale = matrix[:3, :3].norm(dim=0).clamp(min=1e-12)
    if torch.linalg.det(matrix[:3, :3]) < 0:
        scale = scale * torch.tensor([-1.0, 1.0, 1.0])  # mirrored
    quat = matrix_quaternions((matrix[:3, :3] / scale)[None])[0]
    return matrix[:3, 3].tolist(), quat.tolist(), scale.tolist()


def _local(node: Any) -> Array:
    """A node's own transform, [4, 4] float64."""
    if node.matrix:
        return np.array(node.matrix, dtype=np.float64).reshape(4, 4).T
    shift, turn, scale = local_transform(node)
    local = np.eye(4)
    local[:3, :3] = quaternion_matrices(torch.tensor(turn, dtype=torch.float64)).numpy() * np.array(scale)
    local[:3, 3] = shift
    return local


def shown_nodes(file: GltfFile) -> set[int]:
    """Ids of the nodes under the scene's roots; all when the file has no scene. Hidden ones (KHR_node_visibility) and
    what is below them are left out."""
    nodes, scenes = file.gltf.nodes, file.gltf.scenes
    if not scenes:
        return set(range(len(nodes)))
    shown: set[int] = set()
    stack = list(scenes[file.gltf.scene or 0].nodes or [])
    while stack:
        node = stack.pop()
        if node not in shown and ((nodes[node].extensions or {}).get(VISIBILITY) or {}).get("visible", True):
            shown.add(node)
            stack += nodes[node].children or []
    return shown


def _morph(file: GltfFile, primitive: Any, weights: list[float], name: str) -> Array:
    """How far the morph targets move an attribute at their default weights (glTF 2.0, 3.7.2.2): [V, 3], or 0."""
    moved = np.zeros((), np.float32)
    for weight, target in zip(weights, primitive.targets or [], strict=False):
        accessor = (target if isinstance(target, dict) else vars(target)).get(name)
        if weight and accessor is not None:
            moved = moved + np.float32(weight) * file.accessor(accessor).astype(np.float32)
    return moved


def _faces(file: GltfFile, primitive: Any, num_vertices: int) -> Array:
    """Triangles [F, 3]; strips and fans are unrolled; none for points and lines."""
    mode = TRIANGLES if primitive.mode is None else primitive.mode
    if primitive.indices is None:
        corner = np.arange(num_vertices)
    else:
        corner = file.accessor(primitive.indices).reshape(-1).astype(np.int64)
    if mode == TRIANGLES:
        faces = corner[: len(corner) // 3 * 3].reshape(-1, 3)
    elif mode in (STRIP, FAN) and len(corner) >= 3:
        i = np.arange(len(corner) - 2)
        first = i + i % 2 if mode == STRIP else 0 * i  # in a strip, every second triangle is wound the other way
        second = i + 1 - i % 2 if mode == STRIP else i + 1
        faces = np.stack([corner[first], corner[second], corner[i + 2]], axis=1)
    else:
        faces = np.zeros((0, 3), np.int64)
    if len(faces) and int(faces.max()) >= num_vertices:
        raise ValueError("it has triangles whose vertices are not in the file")
    return faces
