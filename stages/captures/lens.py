"""Photos taken through a lens that bends straight lines, as a pinhole camera would have taken them: by OpenCV.

Two models, which COLMAP, nerfstudio and OpenCV share: Brown's (radial and tangential), and the fisheye of Kannala and
Brandt 2006. The pinhole is chosen so that all of its picture was seen: the rim of the photo is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

HALF = 0.5
"""A pixel's centre is at a half here, as in COLMAP, and at 0 in OpenCV."""

WIDEST = 5.0
"""Factor by which the pinhole's focal length may differ from the lens's: beyond it, the lens's own is taken [ours]."""


@dataclass(frozen=True, kw_only=True)
class Lens:
    """How a photo was bent.

    Args:
        K: [3, 3] pixels, of the photo as it was taken.
        fisheye: by angle (k1 k2 k3 k4), else Brown's (k1 k2 p1 p2 [k3 [k4 k5 k6]]).
    """

    K: Tensor
    fisheye: bool
    coefficients: tuple[float, ...]

    @property
    def bends(self) -> bool:
        """Whether it does anything: a fisheye always does."""
        return self.fisheye or any(self.coefficients)

    def scaled(self, x: float, y: float) -> Lens:
        """The lens of a photo that was made ``x`` times as wide and ``y`` times as high."""
        return replace(self, K=self.K * torch.tensor([[x], [y], [1.0]]))

    def pinhole(self, width: int, height: int) -> Tensor:
        """K [3, 3] of the pinhole camera for photos of that size."""
        K, D = self._for_opencv()
        try:
            if self.fisheye:
                flat = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(
                    K, D[:4], (width, height), np.eye(3), balance=0.0
                )
            else:
                flat = cv2.getOptimalNewCameraMatrix(K, D, (width, height), 0.0)[0]
        except cv2.error:  # a size that no photo has: it is refused where photos are compared with it
            flat = K
        ratios = np.array([flat[0, 0] / K[0, 0], flat[1, 1] / K[1, 1]])
        if not np.isfinite(flat).all() or not ((ratios > 1.0 / WIDEST) & (ratios < WIDEST)).all():
            flat = K
        found = torch.from_numpy(np.asarray(flat, dtype=np.float64)).clone()
        found[:2, 2] += HALF
        return found.float()

    def straightened(self, pixels: np.ndarray[Any, Any], K: Tensor) -> np.ndarray[Any, Any]:
        """``pixels`` uint8 [H, W, C] as the pinhole camera ``K`` sees them; colours premultiplied by alpha."""
        height, width = pixels.shape[:2]
        own, D = self._for_opencv()
        flat = K.double().numpy().copy()
        flat[:2, 2] -= HALF
        make: Any = cv2.fisheye.initUndistortRectifyMap if self.fisheye else cv2.initUndistortRectifyMap
        columns, rows = make(own, D[:4] if self.fisheye else D, np.eye(3), flat, (width, height), cv2.CV_32FC1)
        bent = cv2.remap(np.ascontiguousarray(pixels), columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(bent)

    def _for_opencv(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        K = self.K.double().numpy().copy()
        K[:2, 2] -= HALF
        return K, np.array((*self.coefficients, 0.0, 0.0, 0.0, 0.0)[: max(len(self.coefficients), 4)], dtype=np.float64)
