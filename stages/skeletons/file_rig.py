"""A rig from the file that an asset was made from: its bones, its skin, and what its clips are as turns of the rig."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.meshes.placement import Placement
from stages.skeletons.bones_of_file import Bones, find_bones, node_matrices, turns_of
from stages.skeletons.rig import Joints, Rig, Skin, local_rotations
from stages.skeletons.rigged import RiggedFile
from stages.skeletons.skeleton import skin

OWNED = 0.5
"""Of a vertex: with at least this skin weight it belongs to a bone."""


@dataclass(frozen=True)
class FileRig:
    """A rig in the asset's frame, and how it comes from its file.

    Args:
        rig: of the asset.
        bones: the file's nodes that its joints follow, and which joint owns which of the file's.
        at_rest: [J, 4, 4] where each node of the file is, in the file's frame, when the body stands as the asset does.
        placement: of the file in the asset's frame.
    """

    rig: Rig
    bones: Bones
    at_rest: Tensor
    placement: Placement

    def clip(self, file: RiggedFile, clip: str, seconds: Tensor) -> tuple[Tensor, Tensor]:
        """A clip of the file at ``seconds`` [T] as ``forward_kinematics`` takes it: rotations [T, J, 3, 3] of the
        joints in their parents' axes and the shift [T, 3] of the root, in the asset's frame and units."""
        turns, roots = turns_of(file, clip, seconds, self.at_rest, self.bones.nodes)
        R = self.placement.R_asset_file.to(turns)
        rotations = local_rotations(self.bones.parents, R @ turns @ R.T)
        return rotations, self.placement.to_asset(roots) - self.rig.joints.heads[0]


def rig_of_file(file: RiggedFile, placement: Placement, matrices: Tensor, *, max_bones: int) -> FileRig:
    """The rig of the asset that was made from ``file``.

    Args:
        placement: of the file in the asset's frame.
        matrices: [S, 4, 4] of the file's joints in the pose in which the asset stands
            (``stages.moving.truth.find_asset`` gives both).
        max_bones: that may move; more are merged.

    Raises:
        BadInput: as ``find_bones``.
    """
    standing = skin(file.vertices, file.weights, matrices[None])[0]
    at_rest = node_matrices(file, matrices)
    bones = find_bones(file, at_rest, standing, max_bones)
    vertices = placement.to_asset(standing)
    owners = torch.tensor(bones.owners)
    weights = torch.zeros(len(vertices), len(bones.nodes)).index_add(1, owners, file.weights)
    heads = placement.to_asset(at_rest[bones.nodes, :3, 3])
    joints = Joints(
        names=_unique([plain_name(file.names[node]) for node in bones.nodes]),
        parents=tuple(bones.parents),
        heads=heads,
        tails=bone_tails(bones.parents, heads, vertices, weights),
        limits_deg=(None,) * len(bones.nodes),
    )
    carried = Skin(vertices=vertices, faces=file.faces, weights=weights)
    return FileRig(Rig(joints=joints, skin=carried, found="file"), bones, at_rest, placement)


def bone_tails(parents: Sequence[int], heads: Tensor, vertices: Tensor, weights: Tensor) -> Tensor:
    """Where the bone of each joint ends, [J, 3]: at its child (of several, at the one that carries most), or, at the
    end of a limb, as far out as the vertices that belong to it go."""
    carried = weights.sum(dim=0)
    for joint in range(len(parents) - 1, 0, -1):
        carried[parents[joint]] += carried[joint]
    tails = heads.clone()
    for joint in range(len(parents)):
        children = [child for child, parent in enumerate(parents) if parent == joint]
        if children:
            tails[joint] = heads[max(children, key=lambda child: float(carried[child]))]
        if not children or float((tails[joint] - heads[joint]).norm()) < 1e-6:
            own = vertices[weights[:, joint] >= OWNED]
            if not len(own):
                own = vertices[weights[:, joint] > 0]
            if len(own):
                out = own.mean(dim=0) - heads[joint]
                out = out / out.norm().clamp(min=1e-9)
                reach = ((own - heads[joint]) @ out).quantile(0.95).clamp(min=0.0)
                tails[joint] = heads[joint] + reach * out
    return tails


def plain_name(name: str) -> str:
    """A joint's name without the prefixes of Mixamo, Rigify and VRM."""
    name = name.rpartition(":")[2]
    for prefix in ("DEF-", "ORG-", "J_Bip_C_", "J_Bip_", "J_Sec_"):
        name = name.removeprefix(prefix)
    return name or "joint"


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    found: list[str] = []
    for name in names:
        count = 1
        while (name if count == 1 else f"{name}_{count}") in found:
            count += 1
        found.append(name if count == 1 else f"{name}_{count}")
    return tuple(found)
