"""A moving asset as a skinned ``.glb``: which of three it becomes.

1. The rig is that of the asset's file: the file itself, with more animations.
2. The asset was made from a mesh, and has other bones: that mesh with these bones.
3. It is a splat, or its mesh is gone: a mesh that stands in for it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from stages.errors import BadInput
from stages.exporting.bones import vertex_colors
from stages.exporting.glb import read_mesh
from stages.exporting.joint_tracks import SkinnedClip
from stages.exporting.skinned import skin_own_mesh
from stages.exporting.skinned_mesh import skin_plain_mesh
from stages.exporting.skinned_stand_in import skin_stand_in
from stages.gaussians import Gaussians
from stages.meshes.gltf import SUFFIXES, open_gltf
from stages.meshes.placement import Placement, find_placement
from stages.moving.truth import find_asset
from stages.skeletons.rig import Rig
from stages.skeletons.rigged import RiggedFile, read_rigged


@dataclass(frozen=True, kw_only=True)
class Source:
    """The mesh that an asset was made from, so far as it is known."""

    path: Path | None
    named: bool  # by the user: it must be the asset's
    pose: str | None  # CLIP@SECONDS that the asset was made in; searched for when None


def skinned_asset(
    rig: Rig, asset: Gaussians, clips: Sequence[SkinnedClip], source: Source, *, owners: str, credit: str
) -> tuple[bytes, str]:
    """The file, and what to say of it.

    Args:
        rig: in the units of the asset's file.
        asset: likewise.
        owners: of a rig that is the file's: which joint of it each of the file's follows, as ``rig`` wrote it.

    Raises:
        BadInput: the mesh that the user named, or whose rig this is, is not the asset's; or it cannot be written.
    """
    path = source.path
    if rig.found == "file":
        assert path is not None
        found = find_asset(read_rigged(path), asset.means, source.pose)
        if found is None:
            raise _not_its(path)
        placement, matrices, _ = found
        return skin_own_mesh(path, json.loads(owners), matrices, placement, clips, credit=credit), f", on {path.name}"
    if path is not None:
        rigged = _with_bones(path)
        placed = _placed(path, rigged, asset.means, source.pose)
        if placed is not None:
            placement, posed = placed
            data = skin_plain_mesh(path, rig, placement, clips, posed=posed, credit=credit)
            return data, f", on {path.name}{_left_out(rigged)}"
        if source.named:
            raise _not_its(path)
    data = skin_stand_in(rig, vertex_colors(rig, asset), clips, title="asset", credit=credit)
    unlike = "" if path is None else f" ({path.name} is not its mesh, or in another pose: --pose CLIP@SECONDS)"
    return data, f", on a mesh that stands in for the asset{unlike}"


def _with_bones(path: Path) -> RiggedFile | None:
    """The file where it has bones of its own, or clips that move its nodes."""
    if path.suffix.lower() not in SUFFIXES:
        return None
    gltf = open_gltf(path).gltf
    return read_rigged(path) if gltf.skins or gltf.animations else None


def _placed(
    path: Path, rigged: RiggedFile | None, means: Tensor, pose: str | None
) -> tuple[Placement, Tensor | None] | None:
    """How the mesh lies among the asset's ``means`` [N, 3], and, where it has bones of its own, what takes them to the
    pose in which the asset was made [S, 4, 4]. None: it is not the asset's."""
    if rigged is not None:
        found = find_asset(rigged, means, pose)
        return None if found is None else found[:2]
    placement = find_placement(*read_mesh(path).surface(), means)
    return None if placement is None else (placement, None)


def _left_out(rigged: RiggedFile | None) -> str:
    if rigged is None:
        return ""
    clips = f" and its {len(rigged.clips)} clips" if rigged.clips else ""
    return f" in the pose of the asset, without its own bones{clips}"


def _not_its(path: Path) -> BadInput:
    return BadInput(
        f"{path} is not the mesh of this asset, or not in a pose that is tried.",
        "Name the mesh that rig took: --mesh FILE, and its pose: --pose CLIP@SECONDS",
    )
