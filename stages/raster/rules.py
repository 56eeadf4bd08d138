"""The constants of gsplat 1.5.3's compositing, shared by all backends so that an asset looks the same on each."""

from __future__ import annotations

NEAR = 0.01
"""Gaussians nearer to the camera plane than this are culled (world units, which are those of the normalised asset)."""

LOW_PASS_PX2 = 0.3
"""Added to the diagonal of the 2D covariance (square pixels): a Gaussian is never thinner than about half a pixel."""

ALPHA_MIN = 1.0 / 255.0
"""Contributions below this alpha are skipped."""

ALPHA_MAX = 0.999
"""Alpha is clamped to this; where it is, no gradient passes."""

TRANSMITTANCE_MIN = 1e-4
"""The Gaussian that would bring a pixel's transmittance down to this, and all behind it, are dropped."""

FRUSTUM_MARGIN = 0.3
"""The projection's tangent is taken inside the image enlarged by this share of its half size on each side."""
