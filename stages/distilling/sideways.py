"""What a single camera cannot tell, told by the body: limbs swing forwards and backwards, hardly sideways."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stages.gaussians import Frames, Gaussians

SOFT = 0.01
"""Where the cost of a movement turns from square to linear, as a share of the asset's size."""


class Sideways:
    """A ``Regularizer``: how far Gaussians go to the left or right of the body, over its size. [ours]

    It is weak: where a camera sees a movement to the side, it stays. Where none does, as along the line of sight of the
    only camera, what is seen is taken to be part of a movement in the plane that divides left from right.

    Args:
        weight: of the term.
        asset: at rest.
        facing_deg: where the body faces about +y, 0: +z, 90: +x.
    """

    name = "sideways"

    def __init__(self, weight: float, asset: Gaussians, facing_deg: float) -> None:
        self.weight = weight
        low, high = asset.bounds()
        self.size = float((high - low).norm())
        angle = math.radians(facing_deg)
        self.axis = torch.tensor([math.cos(angle), 0.0, -math.sin(angle)]).to(asset.means)

    def __call__(self, frames: Frames, generator: torch.Generator) -> Tensor:
        """See ``Regularizer``."""
        away = ((frames.means - frames.asset.means) @ self.axis) / self.size
        return (away.square() + SOFT**2).sqrt().mean() - SOFT
