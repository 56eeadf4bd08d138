"""What every format writes: an asset, and where its Gaussians are in each frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from stages.gaussians import Gaussians
from stages.gaussians.sh import rotate_sh
from stages.rotations import quaternion_matrices


@dataclass(frozen=True, kw_only=True)
class Clip:
    """T frames of N Gaussians; scales, opacities and colours are those of the asset at rest."""

    gaussians: Gaussians  # at rest
    means: Tensor  # [T, N, 3] world units
    quats: Tensor  # [T, N, 4] wxyz
    fps: int
    title: str
    credit: str = ""

    @property
    def num_frames(self) -> int:
        """T."""
        return self.means.shape[0]

    def frame(self, index: int) -> Gaussians:
        """One frame as an asset of its own, its colours turned with their Gaussians."""
        R_moved_rest = quaternion_matrices(self.quats[index]) @ quaternion_matrices(self.gaussians.quats).mT
        sh = rotate_sh(self.gaussians.sh, R_moved_rest)
        return replace(self.gaussians, means=self.means[index], quats=self.quats[index], sh=sh)
