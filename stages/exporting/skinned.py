"""A mesh asset with its motion, as its own ``.glb``: own mesh, materials, joints, skin and clips, and the motion as one
more animation of the joints (glTF 2.0, 3.7.3 and 3.11).

Every joint of the file follows one joint of the rig, its *owner*. Vertices are then where linear blend skinning with
the file's own weights has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stages.errors import BadInput
from stages.exporting.glb_file import add_animations, read_glb_file
from stages.exporting.joint_tracks import Nodes, SkinnedClip, check_clips, node_tracks
from stages.meshes.gltf import understanding
from stages.meshes.placement import Placement
from stages.skeletons.rigged import RiggedFile, read_rigged

__all__ = ["SkinnedClip", "skin_own_mesh"]

SAME = 1e-4
"""Of the size of the joints' matrices: how far two skins may disagree about where one joint is. [ours]"""


def skin_own_mesh(
    path: Path,
    owners: Sequence[int],
    matrices_rest: Tensor,
    placement: Placement,
    clips: Sequence[SkinnedClip],
    *,
    credit: str = "",
) -> bytes:
    """The ``.glb`` or ``.gltf`` at ``path`` as one ``.glb`` with one more animation a clip; nothing else of it changes.

    Nodes that are no joints keep their place below their parent: they follow a joint above them, and stand still where
    there is none, as the node of an armature does. A node that is animated and has a matrix gets shift, turn and scale
    instead (glTF 2.0, 3.11).

    Args:
        owners: of each of the S joints in ``RiggedFile.joints``, the joint of the rig that it follows.
        matrices_rest: [S, 4, 4] from the bind pose to the file's world, in the pose in which the asset was made; see
            ``truth.find_asset``.
        placement: how the file lies in the asset's frame.
        clips: the motions, of one rig.
        credit: is added to what the file says of its authors.

    Raises:
        BadInput: the file cannot be read; no clips, or of different rigs; ``owners`` do not fit the file or the rig; a
            node cannot be written as shift, turn and scale.
    """
    rigged = read_rigged(path)
    with understanding(path):
        file = read_glb_file(path)
    num_joints = check_clips(clips)
    rest = _rest_worlds(rigged, _checked(owners, rigged, num_joints), matrices_rest)
    nodes = Nodes(names=rigged.names, parents=rigged.parents, own=rigged.bind_local)
    to_asset = placement.matrix()
    moving = []
    for clip in clips:
        moves = torch.linalg.solve(to_asset, clip.keyed @ to_asset)  # [K, J, 4, 4] in the file's world
        moving.append(node_tracks(nodes, {node: moves[:, owner] @ world for node, (owner, world) in rest.items()}))
    add_animations(file, nodes, clips, moving, rigged.node_ids)
    animated = {node_id for node_id, _ in file.moved}
    for node, node_id in enumerate(rigged.node_ids):
        if node_id in animated:
            _drop_matrix(file.content["nodes"][node_id], nodes, node)
    file.add_credit(credit)
    return file.to_bytes()


def _checked(owners: Sequence[int], rigged: RiggedFile, num_joints: int) -> list[int]:
    owners = [int(owner) for owner in owners]
    if len(owners) != len(rigged.joints):
        raise BadInput(f"There are {len(owners)} owners, and the file has {len(rigged.joints)} joints.")
    if not all(0 <= owner < num_joints for owner in owners):
        raise BadInput(f"Owners must be joints of the rig, 0 to {num_joints - 1}.")
    return owners


def _rest_worlds(rigged: RiggedFile, owners: list[int], matrices_rest: Tensor) -> dict[int, tuple[int, Tensor]]:
    """Of each node that is a joint, its owner and its world matrix [4, 4] in the asset's pose, in double. One joint may
    be in the skins of several meshes."""
    assert matrices_rest.shape == (len(owners), 4, 4)
    bind = rigged.inverse_bind.double()
    rest: dict[int, tuple[int, Tensor]] = {}
    for k, (node, owner) in enumerate(zip(rigged.joints, owners, strict=True)):
        name = rigged.names[node]
        if not float(torch.linalg.det(bind[k])):
            raise BadInput(f"The joint {name!r} has an inverse bind matrix that has no inverse.", "Export it again.")
        world = matrices_rest[k].double() @ torch.linalg.inv(bind[k])
        known = rest.setdefault(node, (owner, world))
        if known[0] != owner:
            raise BadInput(f"The joint {name!r} has two owners, {known[0]} and {owner}.")
        if float((known[1] - world).abs().amax()) > SAME * float(world.abs().amax()):
            raise BadInput(
                f"Two skins disagree about where the joint {name!r} is.", "Choose another pose for the asset."
            )
    return rest


def _drop_matrix(content: dict[str, Any], nodes: Nodes, node: int) -> None:
    """Write a node's matrix as shift, turn and scale."""
    if content.pop("matrix", None) is not None:
        w, x, y, z = nodes.own.rotations[0, node].tolist()
        content["translation"], content["rotation"] = nodes.own.translations[0, node].tolist(), [x, y, z, w]
        content["scale"] = nodes.own.scales[0, node].tolist()
