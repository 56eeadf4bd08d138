"""What every format writes: an asset, and where its Gaussians are in each frame."""

from __future__ import annotations

from dataclasses import dataclass

from stages.gaussians import Frames
from stages.raster.ground import Ground


@dataclass(frozen=True, kw_only=True)
class Recording:
    """T frames of N Gaussians, which turn and stretch; opacities are those of the asset at rest."""

    frames: Frames
    fps: int
    title: str
    credit: str = ""
    ground: Ground | None = None  # only the player draws one
