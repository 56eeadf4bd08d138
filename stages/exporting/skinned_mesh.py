"""A mesh asset without bones of its own, as its own ``.glb`` with the bones that ``rig`` gave it and its motions.

Vertices are written in the file's world, as the transforms of a skinned mesh's node count for nothing (glTF 2.0,
3.7.3.3): so nodes that show meshes lie at the scene's root, each with a mesh of its own. Joints have the axes of the
file's world at rest; how the file lies in the asset's frame is in their places, so no node is scaled. Materials,
textures, texture coordinates and colours stay as they are; cameras and lights stay where they are. Morph targets go:
what their default weights do becomes the shape. So do skins and animations of the file itself.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.errors import BadInput
from stages.exporting.glb_file import INDICES, VERTICES, GlbFile, add_animations, parse_glb_file
from stages.exporting.glb_unused import without_unused
from stages.exporting.joint_tracks import SkinnedClip, check_clips, node_tracks
from stages.exporting.skinned_stand_in import (
    bind_matrices,
    influence_arrays,
    influences,
    joint_nodes,
    joint_worlds,
    node_contents,
)
from stages.meshes.gltf import SUFFIXES, Array, GltfFile, open_gltf, parse_gltf, understanding
from stages.meshes.mesh import refuse_splat
from stages.meshes.placement import Placement
from stages.meshes.scene import TRIANGLES, Primitive, primitives, shown_nodes
from stages.meshes.write_plain import as_glb
from stages.skeletons.rig import Rig, Skin
from stages.skeletons.rigged import read_rigged

ROOT = "Armature"
"""The node above the joints: what Blender calls it, and other programs know."""

LIGHTS = "KHR_lights_punctual"

SAME = 1e-6
"""Of the diagonal: vertices so near to those of the rig's surface are those. [ours]"""


@dataclass(frozen=True, kw_only=True)
class _Placed:
    """A primitive and where it is in the file's world."""

    part: Primitive
    to_world: Tensor  # [V, 4, 4], or [1, 4, 4] for all vertices, in double
    skinned: bool  # whether it went there by a skin of the file

    @property
    def vertices(self) -> Tensor:
        """[V, 3] float32 in the file's world."""
        own = torch.from_numpy(self.part.vertices).double()
        return ((self.to_world[:, :3, :3] @ own[..., None])[..., 0] + self.to_world[:, :3, 3]).float()

    @property
    def stays(self) -> bool:
        """Whether its vertices are already in the file as they have to be."""
        return not self.part.morphed and torch.equal(self.to_world, torch.eye(4).double()[None])

    @property
    def mirrored(self) -> bool:
        """Whether its triangles would show their backs."""
        return not self.skinned and bool(torch.linalg.det(self.to_world[0, :3, :3]) < 0.0)

    def directions(self, values: Array, *, normals: bool) -> Array:
        """Unit vectors [V, 3] of the mesh in the file's world, float32: normals, or tangents."""
        linear = self.to_world[:, :3, :3]
        if normals:
            linear = torch.linalg.inv(linear).mT
        turned = (linear @ torch.from_numpy(values).double()[..., None])[..., 0]
        return np.ascontiguousarray(torch.nn.functional.normalize(turned, dim=-1, eps=1e-30).float().numpy())


def skin_plain_mesh(
    path: Path,
    rig: Rig,
    placement: Placement,
    clips: Sequence[SkinnedClip],
    *,
    posed: Tensor | None = None,
    credit: str = "",
) -> bytes:
    """The mesh at ``path``, glTF or what else trimesh reads, as one ``.glb``: with the joints and the skin of ``rig``
    and one animation a clip.

    Args:
        rig: in the units of the asset's file.
        placement: how the mesh lies in the asset's frame.
        clips: motions of ``rig``.
        posed: [S, 4, 4] where the file has joints of its own: from its bind pose to its world, in the pose in which the
            asset was made (``truth.find_asset``). The mesh then stands in that pose. None: it stands as it is stored.
        credit: is added to what the file says of its authors.

    Raises:
        BadInput: the file cannot be read, or has no triangles; no clips, or not of this rig.
    """
    check_clips(clips, len(rig.joints))
    source, file = _opened(path)
    with understanding(path):
        placed = _placed(source, path, posed)
    if not any(len(one.part.faces) for one in placed):
        refuse_splat(source)
        raise BadInput(f"{path} has no triangles.", "Give the mesh that the asset was made from.")
    joints = replace(rig.joints, heads=placement.to_file(rig.joints.heads.detach().cpu().float()))
    nodes = joint_nodes(joints)
    weights = _weights(rig.skin, placement.to_asset(torch.cat([one.vertices for one in placed])))
    arrays = influence_arrays(*influences(weights), len(joints))
    content = file.content
    for gone in ("animations", "skins"):
        content.pop(gone, None)
    shown = _write_meshes(file, placed, arrays)
    others = _cameras_and_lights(source, content, first=1 + len(joints) + len(shown))
    roots = [1 + len(joints) + number for number in range(len(shown))] + others.roots
    content["nodes"] = [{"name": ROOT, "children": [1]}, *node_contents(joints, nodes.own, first=1), *shown]
    content["nodes"] += others.nodes
    scene = content["scenes"][content.get("scene", 0)] if content.get("scenes") else {}
    content["scene"], content["scenes"] = 0, [{**scene, "nodes": [0, *roots]}]
    ids = list(range(1, 1 + len(joints)))
    content["skins"] = [{"joints": ids, "skeleton": 1, "inverseBindMatrices": bind_matrices(file, joints)}]
    in_file = [_in_file(clip, placement) for clip in clips]
    moving = [node_tracks(nodes, joint_worlds(joints, clip)) for clip in in_file]
    add_animations(file, nodes, in_file, moving, ids)
    file.add_credit(credit)
    return without_unused(file).to_bytes()


def _opened(path: Path) -> tuple[GltfFile, GlbFile]:
    """The file, to read and to write."""
    if path.suffix.lower() in SUFFIXES:
        source = open_gltf(path)
    else:
        with understanding(path):
            source = parse_gltf(path, as_glb(path))
    with understanding(path):
        return source, parse_glb_file(source.data, path.parent)


def _placed(source: GltfFile, path: Path, posed: Tensor | None) -> list[_Placed]:
    """All primitives that the scene shows, and where they are."""
    parts = primitives(source)
    worlds = [torch.from_numpy(part.world_node)[None] for part in parts]
    if posed is None:
        return [_Placed(part=part, to_world=world, skinned=False) for part, world in zip(parts, worlds, strict=True)]
    rigged, found = read_rigged(path), []
    for part, world in zip(parts, worlds, strict=True):
        weights = rigged.weights[rigged.places[part.node, part.number]].double()
        moved = torch.einsum("vs,sij->vij", weights, posed.detach().cpu().double())
        skinned = source.gltf.nodes[part.node].skin is not None
        found.append(_Placed(part=part, to_world=moved if skinned else moved @ world, skinned=skinned))
    return found


def _weights(skin: Skin, points: Tensor) -> Tensor:
    """Skin weights [P, J] of ``points`` [P, 3] of the asset. Where these are the vertices of the skin's own surface,
    theirs: where two parts touch, the nearest point may be on either."""
    surface = skin.vertices.detach().cpu().float()
    if surface.shape == points.shape:
        size = float((surface.amax(dim=0) - surface.amin(dim=0)).norm())
        if float((surface - points).abs().amax()) <= SAME * size:
            return skin.weights.detach().cpu()
    return skin.weights_at(points.to(skin.vertices)).detach().cpu()


def _in_file(clip: SkinnedClip, placement: Placement) -> SkinnedClip:
    """The motion in the world of the mesh's file."""
    to_asset = placement.matrix()
    return replace(clip, matrices=torch.linalg.solve(to_asset, clip.matrices.detach().cpu().double() @ to_asset))


class _Writer:
    """Adds to a file; what is equal, once: primitives share their vertices."""

    def __init__(self, file: GlbFile) -> None:
        self.file = file
        self._known: dict[tuple[bytes, str, str, tuple[int, ...]], int] = {}

    def add(self, values: Array, kind: str, *, target: int = VERTICES, bounds: bool = False) -> int:
        """The accessor of ``values``."""
        known = (blake2b(np.ascontiguousarray(values).tobytes()).digest(), kind, str(values.dtype), values.shape)
        if known not in self._known:
            self._known[known] = self.file.add(values, kind, target=target, bounds=bounds)
        return self._known[known]


def _write_meshes(file: GlbFile, placed: Sequence[_Placed], arrays: dict[str, Array]) -> list[dict[str, Any]]:
    """Write the meshes anew, one for each node that shows one, and return those nodes. ``arrays`` are the influences of
    all vertices in the order of ``placed``."""
    content, writer, start = file.content, _Writer(file), 0
    meshes: dict[int, dict[str, Any]] = {}
    for one in placed:
        old = content["nodes"][one.part.node]
        mesh = meshes.setdefault(one.part.node, _mesh_without_shapes(content["meshes"][old["mesh"]]))
        primitive = copy.deepcopy(content["meshes"][old["mesh"]]["primitives"][one.part.number])
        _place(primitive, one, writer)
        end = start + len(one.part.vertices)
        for name, values in arrays.items():
            primitive["attributes"][name] = writer.add(values[start:end], "VEC4")
        mesh["primitives"].append(primitive)
        start = end
    shown, order = [], sorted(meshes)
    for number, node in enumerate(order):
        old = content["nodes"][node]
        shown.append({key: old[key] for key in ("name", "extras") if key in old} | {"mesh": number, "skin": 0})
    content["meshes"] = [meshes[node] for node in order]
    return shown


def _mesh_without_shapes(mesh: dict[str, Any]) -> dict[str, Any]:
    """A mesh as it was, but for its primitives and what it says of morph targets."""
    kept = {key: copy.deepcopy(value) for key, value in mesh.items() if key not in ("primitives", "weights")}
    if isinstance(kept.get("extras"), dict):
        kept["extras"].pop("targetNames", None)
    return {**kept, "primitives": []}


def _place(primitive: dict[str, Any], one: _Placed, writer: _Writer) -> None:
    """Write where a primitive's vertices are in the world, and drop what moved them."""
    primitive.pop("targets", None)
    attributes = primitive["attributes"]
    for name in [name for name in attributes if name.startswith(("JOINTS_", "WEIGHTS_"))]:
        del attributes[name]
    if one.stays:
        return
    attributes["POSITION"] = writer.add(one.vertices.numpy(), "VEC3", bounds=True)
    if one.part.normals is not None:
        attributes["NORMAL"] = writer.add(one.directions(one.part.normals, normals=True), "VEC3")
    if one.part.tangents is not None:
        along = one.directions(one.part.tangents[:, :3], normals=False)
        side = one.part.tangents[:, 3:] * (-1.0 if one.mirrored else 1.0)
        attributes["TANGENT"] = writer.add(np.concatenate([along, side], axis=1).astype(np.float32), "VEC4")
    if one.mirrored and len(one.part.faces):
        corners = one.part.faces[:, [0, 2, 1]].reshape(-1)
        small = corners.astype(np.uint16 if len(one.part.vertices) < 65535 else np.uint32)
        primitive["indices"], primitive["mode"] = writer.add(small, "SCALAR", target=INDICES), TRIANGLES


@dataclass(frozen=True)
class _Others:
    """Nodes that stay as they are, and which of them are roots of the scene."""

    nodes: list[dict[str, Any]]
    roots: list[int]


def _cameras_and_lights(source: GltfFile, content: dict[str, Any], first: int) -> _Others:
    """The nodes that carry a camera or a light, and those above them; ids are counted from ``first`` on."""
    nodes, shown = content["nodes"], shown_nodes(source)
    above = {child: node for node, one in enumerate(nodes) for child in one.get("children", [])}
    kept: set[int] = set()
    for node in shown:
        if "camera" in nodes[node] or LIGHTS in nodes[node].get("extensions", {}):
            place: int | None = node
            while place is not None and place in shown:
                kept.add(place)
                place = above.get(place)
    ids = {node: first + number for number, node in enumerate(sorted(kept))}
    found = []
    for node in ids:
        one = {key: value for key, value in nodes[node].items() if key not in ("mesh", "skin", "weights", "children")}
        if LIGHTS in one.pop("extensions", {}):
            one["extensions"] = {LIGHTS: nodes[node]["extensions"][LIGHTS]}
        if children := [ids[child] for child in nodes[node].get("children", []) if child in ids]:
            one["children"] = children
        found.append(one)
    return _Others(found, [ids[node] for node in ids if above.get(node) not in ids])
