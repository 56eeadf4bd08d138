"""The normalised asset: the same asset whatever units its file has. All work is done on it; files keep their units.

The box of the body (``Gaussians.bounds``: a few far Gaussians do not count) is shifted to the origin and its longest
side made 2. So weights of regularizers, planes of a field, neighbours, cameras and the near plane mean the same for a
fox of two units and one of a hundred and fifty.

Halving and doubling are exact in floating point, so that an asset scaled by a power of two is normalised to the same
bits, but for one thing: files hold the *logarithm* of a scale, and ``log s + log 2`` is rounded. Therefore logarithms
relative to the power of two of the box's size are kept on a grid of ``2**-GRID_BITS`` (a relative change of 4e-6 of a
scale at most), far coarser than that rounding: ``reconstruct`` puts them on it before it scales, and here they are
found on it again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import Tensor

from stages.cameras import Camera
from stages.gaussians.asset import Gaussians
from stages.gaussians.frames import Frames

GRID_BITS = 17


@dataclass(frozen=True)
class Placement:
    """Where the normalised asset lies in its file: ``file = size * normalised + centre``."""

    centre: Tensor  # [3] in the file's units
    size: float  # half of the longest side of the body's box, in the file's units

    @staticmethod
    def of(asset: Gaussians) -> Placement:
        """That of an asset in its file's units. A body without extent has the size of its largest Gaussian."""
        low, high = asset.bounds()
        size = 0.5 * float((high - low).max())
        return Placement(0.5 * (low + high), size or float(asset.scales.max()) or 1.0)

    def normalised(self, asset: Gaussians) -> Gaussians:
        """``asset``, in its file's units, normalised."""
        mantissa, exponent = math.frexp(self.size)
        log_scales = _on_grid(asset.log_scales, exponent) - math.log(mantissa)
        return replace(asset, means=self.points(asset.means), log_scales=log_scales.to(asset.log_scales))

    def points(self, points: Tensor) -> Tensor:
        """Points [..., 3] of the file, normalised."""
        return (points - self.centre.to(points)) / self.size

    def file_points(self, points: Tensor) -> Tensor:
        """Normalised points [..., 3] in the file's units."""
        return self.size * points + self.centre.to(points)

    def file_frames(self, frames: Frames, asset: Gaussians) -> Frames:
        """Frames of the normalised asset as frames of ``asset``, which is in its file's units."""
        rest = frames.asset
        scales = asset.scales * (frames.scales / rest.scales.clamp(min=1e-30))
        means = asset.means + self.size * (frames.means - rest.means)  # what does not move stays to the last bit
        return Frames(asset, means, (frames.rotations, frames.quats, scales))

    def camera(self, camera: Camera) -> Camera:
        """The camera that sees of the normalised asset what ``camera``, in the file's units, sees of the file's."""
        viewmat = camera.viewmat.clone()
        moved = camera.viewmat[:3, :3] @ self.centre.to(viewmat) + camera.viewmat[:3, 3]
        viewmat[:3, 3] = moved / self.size
        return replace(camera, viewmat=viewmat)


def normalised(asset: Gaussians) -> Gaussians:
    """``asset`` normalised, see ``Placement``."""
    return Placement.of(asset).normalised(asset)


def snap_scales(asset: Gaussians) -> Gaussians:
    """``asset``, in its file's units, with the logarithms of its scales on the grid (module docstring)."""
    _, exponent = math.frexp(Placement.of(asset).size)
    snapped = _on_grid(asset.log_scales, exponent) + exponent * math.log(2.0)
    return replace(asset, log_scales=snapped.to(asset.log_scales))


def _on_grid(log_scales: Tensor, exponent: int) -> Tensor:
    """Logarithms of the scales over ``2**exponent``, on the grid, in double."""
    steps = ((log_scales.double() - exponent * math.log(2.0)) * 2.0**GRID_BITS).round()
    return steps / 2.0**GRID_BITS
