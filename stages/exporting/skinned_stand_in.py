"""The surface of a rig as a skinned ``.glb``: what stands in for a splat in programs that know no Gaussians.

Joints have the axes of the world at rest, as those of a rig have, so that a joint's own transform at rest is a shift.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stages.exporting.glb_file import INDICES, VERTICES, GlbFile, add_animations
from stages.exporting.joint_tracks import Nodes, SkinnedClip, check_clips, node_tracks
from stages.meshes.gltf import Array
from stages.meshes.paint import linear_light
from stages.meshes.surface import vertex_normals
from stages.skeletons.rig import Joints, Rig
from stages.skeletons.skeleton import Pose

IN_A_SET = 4
"""Influences in one pair of JOINTS_n and WEIGHTS_n (glTF 2.0, 3.7.3.3)."""

LOST = 1e-4
"""Skin weight that may be left out at a vertex."""


def skin_stand_in(
    rig: Rig,
    colors: Tensor,
    clips: Sequence[SkinnedClip],
    *,
    title: str = "asset",
    credit: str = "",
) -> bytes:
    """The skin of ``rig`` with its joints and one animation a clip.

    Args:
        rig: in the units of the asset's file.
        colors: [V, 3] of the vertices, as displayed (sRGB), in [0, 1].
        title: what the mesh is called.
        credit: who made the asset.

    Raises:
        BadInput: no clips, or not of this rig.
    """
    check_clips(clips, len(rig.joints))
    num_vertices = len(rig.skin.vertices)
    assert colors.shape == (num_vertices, 3)
    file = GlbFile({"asset": {"version": "2.0", "generator": "animus3d"}}, bytearray())
    if credit:
        file.content["asset"]["copyright"] = credit
    nodes = joint_nodes(rig.joints)
    file.content.update(
        {
            "scene": 0,
            "scenes": [{"nodes": [0, len(rig.joints)]}],
            "nodes": [*node_contents(rig.joints, nodes.own), {"name": title, "mesh": 0, "skin": 0}],
            "meshes": [{"name": title, "primitives": [_primitive(file, rig, colors)]}],
            "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 1}, "doubleSided": True}],
            "skins": [
                {
                    "joints": list(range(len(rig.joints))),
                    "skeleton": 0,
                    "inverseBindMatrices": bind_matrices(file, rig.joints),
                }
            ],
        }
    )
    moving = [node_tracks(nodes, joint_worlds(rig.joints, clip)) for clip in clips]
    add_animations(file, nodes, clips, moving, range(len(rig.joints)))
    return file.to_bytes()


def joint_nodes(joints: Joints) -> Nodes:
    """The joints as nodes that are only shifted at rest."""
    heads = joints.heads.detach().cpu().double()
    shifts = torch.stack([head if p < 0 else head - heads[p] for head, p in zip(heads, joints.parents, strict=True)])
    turns = torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(len(joints), 4)
    own = Pose(shifts.float()[None], turns[None], torch.ones(1, len(joints), 3))
    return Nodes(names=joints.names, parents=joints.parents, own=own)


def joint_worlds(joints: Joints, clip: SkinnedClip) -> dict[int, Tensor]:
    """Where each joint's frame is at the keys of ``clip``: [K, 4, 4] in double, by joint."""
    at_rest = torch.eye(4, dtype=torch.float64).repeat(len(joints), 1, 1)
    at_rest[:, :3, 3] = joints.heads.detach().cpu().double()
    return dict(enumerate((clip.keyed @ at_rest).unbind(dim=1)))


def influences(weights: Tensor) -> tuple[Tensor, Tensor]:
    """The joints [V, 4 n] that matter at each vertex and their weights, strongest first; rows sum to 1. ``n`` is the
    smallest with which no vertex of ``weights`` [V, J] loses more than ``LOST``; a joint of weight 0 is joint 0."""
    ordered, which = weights.detach().cpu().double().sort(dim=1, descending=True, stable=True)
    ordered = ordered / ordered.sum(dim=1, keepdim=True)
    lost = 1.0 - ordered.cumsum(dim=1).amin(dim=0)  # [J] at the worst vertex, were so many kept
    needed = int((lost > LOST).sum()) + 1
    count = IN_A_SET * -(-min(needed, weights.shape[1]) // IN_A_SET)
    shares = torch.zeros(len(weights), count).double()
    kept = min(count, weights.shape[1])
    shares[:, :kept] = ordered[:, :kept]
    shares = shares / shares.sum(dim=1, keepdim=True)
    joints = torch.zeros(len(weights), count, dtype=torch.long)
    joints[:, :kept] = which[:, :kept]
    return torch.where(shares > 0.0, joints, 0), shares.float()


def influence_arrays(which: Tensor, shares: Tensor, num_joints: int) -> dict[str, Array]:
    """The attributes JOINTS_n and WEIGHTS_n, each [V, 4], of what ``influences`` returns."""
    small = np.dtype(np.uint8 if num_joints <= 256 else np.uint16)
    arrays: dict[str, Array] = {}
    for number in range(which.shape[1] // IN_A_SET):
        part = slice(number * IN_A_SET, (number + 1) * IN_A_SET)
        arrays[f"JOINTS_{number}"] = which[:, part].numpy().astype(small)
        arrays[f"WEIGHTS_{number}"] = _numpy(shares[:, part])
    return arrays


def node_contents(joints: Joints, own: Pose, first: int = 0) -> list[dict[str, object]]:
    """The nodes of ``joints`` as a file writes them; the first of them has the id ``first``."""
    contents: list[dict[str, object]] = []
    for joint, name in enumerate(joints.names):
        content: dict[str, object] = {"name": name, "translation": own.translations[0, joint].tolist()}
        if children := joints.children(joint):
            content["children"] = [first + child for child in children]
        contents.append(content)
    return contents


def bind_matrices(file: GlbFile, joints: Joints) -> int:
    """The accessor of the inverse bind matrices, column by column."""
    matrices = np.tile(np.eye(4, dtype=np.float32), (len(joints), 1, 1))
    matrices[:, 3, :3] = -joints.heads.detach().cpu().float().numpy()
    return file.add(matrices.reshape(-1, 16), "MAT4")


def _primitive(file: GlbFile, rig: Rig, colors: Tensor) -> dict[str, object]:
    """The mesh's only primitive."""
    vertices, faces = rig.skin.vertices.detach().cpu().float(), rig.skin.faces.detach().cpu()
    normals = vertex_normals(vertices, faces)
    normals[normals.norm(dim=-1) < 0.5] = torch.tensor([0.0, 1.0, 0.0])  # of vertices without a face
    attributes = {
        "POSITION": file.add(vertices.numpy(), "VEC3", target=VERTICES, bounds=True),
        "NORMAL": file.add(normals.numpy(), "VEC3", target=VERTICES),
        "COLOR_0": file.add(_numpy(linear_light(colors.clamp(0.0, 1.0))), "VEC3", target=VERTICES),
    }
    for name, values in influence_arrays(*influences(rig.skin.weights), len(rig.joints)).items():
        attributes[name] = file.add(values, "VEC4", target=VERTICES)
    corners = faces.reshape(-1).numpy().astype(np.uint16 if len(vertices) < 65535 else np.uint32)
    return {"attributes": attributes, "indices": file.add(corners, "SCALAR", target=INDICES), "material": 0}


def _numpy(values: Tensor) -> Array:
    return np.ascontiguousarray(values.detach().cpu().float().numpy())
