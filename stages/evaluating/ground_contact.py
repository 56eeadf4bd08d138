"""What ``eval`` says of the ground under an asset and of its bones. [ours]

The ground is the lowest point of the body at rest. The frames are those of 24 a second, so that a step of a quick walk
is not missed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.conventions import frame_times
from stages.metrics import contact
from stages.metrics.catalogue import BONES, GROUND, HEIGHT, Entry, measured, missing
from stages.motion.bones import rig_of
from stages.moving.asset import MovingAsset

FPS = 24
FRAMES_AT_ONCE = 8
"""That are held in memory with what makes them."""

NAMES = ("foot_slide", "penetration", "floating", "contact_share")


@torch.no_grad()
def on_ground(asset: MovingAsset, least_frames: int) -> dict[str, Entry]:
    """The metrics of contact, over ``least_frames`` or more."""
    rest = asset.gaussians.means[asset.gaussians.body]
    ground, height = float(rest[:, 1].min()), float(rest[:, 1].max() - rest[:, 1].min())
    if height <= 0.0:
        return {name: missing(name, HEIGHT) for name in NAMES}
    seconds = asset.seconds
    times = frame_times(max(least_frames, round(seconds * FPS) + 1), rest.device)
    points = _places(asset, rest, times)
    where = {"frames": len(times), "seconds": round(seconds, 3)}
    mean, most = contact.penetration(points, ground, height)
    slide = contact.foot_slide(points, seconds, height, ground=ground, in_place=asset.closes)
    return {
        "foot_slide": missing("foot_slide", GROUND, **where)
        if slide is None
        else measured("foot_slide", slide, **where),
        "penetration": measured("penetration", 100.0 * mean, most=100.0 * most, **where),
        "floating": measured("floating", 100.0 * contact.floating(points, ground, height), **where),
        "contact_share": measured("contact_share", 100.0 * contact.contact_share(points, ground, height), **where),
    }


@torch.no_grad()
def on_bones(asset: MovingAsset, num_frames: int) -> dict[str, Entry]:
    """Whether bones keep their lengths; of a motion of bones only."""
    name, rig = "bone_length_error", rig_of(asset.motion)
    if rig is None:
        return {name: missing(name, BONES)}
    heads = rig.joints.heads
    matrices = asset.matrices(frame_times(num_frames, heads.device))
    places = torch.einsum("tjab,jb->tja", matrices[..., :3, :3], heads) + matrices[..., :3, 3]
    error = contact.bone_length_error(places, heads, rig.joints.parents)
    return {name: measured(name, 100.0 * error, frames=num_frames, joints=len(heads))}


def _places(asset: MovingAsset, rest: Tensor, times: Tensor) -> Tensor:
    """Where the points ``rest`` [P, 3] are at ``times`` [T]: [T, P, 3]."""
    if asset.motion is None:
        return rest.expand(len(times), -1, -1)
    return torch.cat([rest + asset.displacements(rest, some) for some in times.split(FRAMES_AT_ONCE)])
