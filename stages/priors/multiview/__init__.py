"""MV-VDM: Animate3D's model that denoises four videos of one thing together (Jiang et al. 2024, section 3.1)."""

from __future__ import annotations

from stages.priors.multiview.prior import MVVDMPrior

__all__ = ["MVVDMPrior"]
