"""What the bones of a moving asset do, as exporters take it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from stages.errors import BadInput
from stages.exporting.joint_tracks import SkinnedClip
from stages.gaussians import Gaussians
from stages.gaussians.normalised import Placement
from stages.gaussians.sh import sh0_to_rgb
from stages.motion.bones import rig_of
from stages.moving.asset import MovingAsset
from stages.skeletons.rig import Rig

NEAR = 4
"""Gaussians whose colours a vertex of a stand-in takes."""


def rig_in_file(asset: MovingAsset) -> Rig:
    """The rig that carries the motion, in the units of the asset's file. Raises ``BadInput``: there is none."""
    rig = rig_of(asset.motion)
    if rig is None:
        raise BadInput(
            "This motion is not carried by a skeleton.",
            "Run: animus3d rig, then animus3d distill --motion skeleton; or export without --skinned.",
        )
    if asset.placement is None:
        return rig
    inverse = Placement(-asset.placement.centre / asset.placement.size, 1.0 / asset.placement.size)
    return rig.normalised(inverse)


def clip_of(asset: MovingAsset, times: Tensor, name: str, fps: int) -> SkinnedClip:
    """The motion of ``asset`` at ``times`` [T] as an animation called ``name``, in the units of its file."""
    matrices = asset.matrices(times).double()
    if asset.placement is not None:
        to_file = torch.eye(4, dtype=torch.float64)
        to_file[:3, :3] *= asset.placement.size
        to_file[:3, 3] = asset.placement.centre.double().cpu()
        matrices = to_file @ matrices.cpu() @ torch.linalg.inv(to_file)
    loop = (asset.loop or asset.closes) and asset.travel is None
    return SkinnedClip(name=name, matrices=matrices, fps=fps, loop=loop)


def check_same_rig(rig: Rig, other: Rig, which: str) -> None:
    """Raise ``BadInput`` unless motions of two rigs may stand in one file."""
    same = rig.joints.names == other.joints.names and rig.joints.parents == other.joints.parents
    size = float((rig.joints.heads.amax(0) - rig.joints.heads.amin(0)).norm())
    if not same or float((rig.joints.heads - other.joints.heads).abs().max()) > 1e-4 * size:
        raise BadInput(
            f"{which} has another skeleton.", "Begin its run with --from this one: then both have the same rig."
        )


def clip_names(motions: Sequence[MovingAsset], given: Sequence[str]) -> list[str]:
    """What the animations are called: ``given`` is for all of them or for all but the first; else their sentences."""
    if len(given) not in (0, len(motions), len(motions) - 1):
        raise BadInput(f"There are {len(given)} names for {len(motions)} motions.", "One --name for each --add.")
    named = list(given) if len(given) == len(motions) else [None, *given] if given else [None] * len(motions)
    found: list[str] = []
    for name, motion in zip(named, motions, strict=True):
        plain = name or motion.prompt or "motion"
        count = 1 + sum(other == plain or other.startswith(f"{plain} (") for other in found)
        found.append(plain if count == 1 else f"{plain} ({count})")
    return found


def vertex_colors(rig: Rig, asset: Gaussians) -> Tensor:
    """Colours [V, 3] of the vertices of a stand-in: those of the Gaussians that are nearest to them."""
    away, nearest = cKDTree(asset.means.cpu().numpy()).query(
        rig.skin.vertices.cpu().numpy(), min(NEAR, len(asset.means))
    )
    colors = sh0_to_rgb(asset.sh[:, 0].cpu()).clamp(0.0, 1.0)[torch.from_numpy(nearest).reshape(len(away), -1)]
    weights = asset.opacities.cpu()[torch.from_numpy(nearest).reshape(len(away), -1)]
    return (weights[..., None] * colors).sum(dim=1) / weights.sum(dim=1, keepdim=True).clamp(min=1e-9)
