"""The asset: Gaussians, their files, their colours, their neighbours."""

from stages.gaussians.asset import Gaussians

__all__ = ["Gaussians"]
