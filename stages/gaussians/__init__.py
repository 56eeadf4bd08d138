"""The asset: Gaussians, their files, their colours, their neighbours."""

from stages.gaussians.asset import Gaussians
from stages.gaussians.frames import Frames

__all__ = ["Frames", "Gaussians"]
