"""How far a motion on the spot takes the body: as its feet push, or as fast as somebody says."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import torch
from torch import Tensor

from stages.errors import BadInput
from stages.events import Note, Report
from stages.moving.asset import MovingAsset
from stages.skeletons.travel import contact_velocities, travel_velocity

MOMENTS = 49
"""At which feet are looked at, both ends included."""

LESS = 0.8
"""The feet of a body that walks slide this much less, or still less, once it travels; those of one that dances do not.
[ours]"""

SLOWEST = 0.1
"""Heights of the body in a motion's whole time: what is slower stays. [ours]"""


def parse_travel(text: str) -> str | float:
    """What ``--travel`` says: auto, none, or a speed in the asset's units a second. Raises ``BadInput``."""
    if text in ("auto", "none"):
        return text
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not math.isfinite(speed):
        raise BadInput(f"--travel {text} is no speed.", "Use auto, none, or a number: units of the asset a second.")
    return speed


@torch.no_grad()
def travel_of(asset: MovingAsset, said: str | float, facing_deg: float) -> Tensor:
    """How far ``asset`` goes in the whole time of its motion, [3] in normalised units: zero for "none".

    Args:
        said: as ``parse_travel`` gives it. "auto" is the constant velocity at which the feet slide least, where they
            slide clearly less with it.
        facing_deg: where the body faces, for a speed.
    """
    nothing = torch.zeros(3).to(asset.gaussians.means)
    if said == "none" or asset.motion is None:
        return nothing
    if isinstance(said, (int, float)):
        size = 1.0 if asset.placement is None else asset.placement.size
        angle = math.radians(facing_deg)
        return said * asset.seconds / size * torch.tensor([math.sin(angle), 0.0, math.cos(angle)]).to(nothing)
    if not asset.closes:
        return nothing
    cycles = 1 if asset.timing is None else asset.timing.cycles
    once = replace(asset, timing=None, travel=None)
    body = asset.gaussians.means[asset.gaussians.body]
    points = body + once.displacements(body, torch.linspace(0.0, 1.0, MOMENTS).to(body))
    height = float(body[:, 1].max() - body[:, 1].min())
    velocity = travel_velocity(points, 1.0, height)
    pushes = contact_velocities(points, 1.0, height, points[..., 1].amin(dim=1))
    if not len(pushes) or float(velocity.norm()) < SLOWEST * height:
        return nothing
    before, after = pushes.norm(dim=1).mean(), (pushes + velocity[[0, 2]].double()).norm(dim=1).mean()
    return cycles * velocity if float(after) <= LESS * float(before) else nothing


def travelling(asset: MovingAsset, said: str | float, facing_deg: float, report: Report) -> dict[str, str]:
    """How far the body goes beside its motion on the spot, for a result; nothing where it stays. See ``travel_of``."""
    travel = travel_of(asset, said, facing_deg)
    if said == "auto":
        body = asset.gaussians.means[asset.gaussians.body, 1]
        far = float(travel.norm()) / max(float(body.max() - body.min()), 1e-9)
        report(Note(f"It travels {far:.2f} of its heights." if far else "It stays where it is: no feet push it on."))
    return {"travel": json.dumps(travel.tolist())} if bool(travel.any()) else {}
