"""Where a motion takes an asset: what every renderer, export and metric is given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from stages.gaussians import deformation
from stages.gaussians.asset import Gaussians
from stages.gaussians.sh import rotate_sh
from stages.geometry.rotations import quaternion_matrices


@dataclass(frozen=True)
class Frames:
    """T frames of an asset. ``means`` say everything; what else there is follows from them when it is asked for, by the
    deformation of each Gaussian's neighbourhood (``stages.gaussians.deformation``), without gradients.

    Args:
        asset: the Gaussians at rest.
        means: [T, N, 3] world units.
        given: ``(rotations, quats, scales)`` where they are known otherwise, shapes as below.
        shown: [T, N] False where a Gaussian is not to be seen in a frame; None: all are seen in all frames.
    """

    asset: Gaussians
    means: Tensor
    given: tuple[Tensor, Tensor, Tensor] | None = None
    shown: Tensor | None = None

    @staticmethod
    def at_rest(asset: Gaussians, num_frames: int = 1) -> Frames:
        """``num_frames`` frames in which nothing moves."""
        rotations = torch.tensor([1.0, 0.0, 0.0, 0.0]).to(asset.means).expand(num_frames, asset.num_gaussians, 4)
        shape = (num_frames, -1, -1)
        return Frames(
            asset, asset.means.expand(shape), (rotations, asset.quats.expand(shape), asset.scales.expand(shape))
        )

    @property
    def num_frames(self) -> int:
        """T."""
        return self.means.shape[0]

    @property
    def rotations(self) -> Tensor:
        """[T, N, 4] wxyz: how each neighbourhood has turned since rest. Colours turn with these."""
        return self._derived[0]

    @property
    def quats(self) -> Tensor:
        """[T, N, 4] wxyz: the axes of the moved covariance, each that of the same number at rest."""
        return self._derived[1]

    @property
    def scales(self) -> Tensor:
        """[T, N, 3] standard deviations along those axes, world units."""
        return self._derived[2]

    @property
    def opacities(self) -> Tensor:
        """[N] those of the asset; [T, N] where some Gaussians are not shown in some frames."""
        return self.asset.opacities if self.shown is None else self.asset.opacities * self.shown

    @cached_property
    def _derived(self) -> tuple[Tensor, Tensor, Tensor]:
        if self.given is not None:
            return self.given
        deform = deformation.deform
        if self.means.device.type == "cpu":
            from stages.gaussians.deformation_cpu import deform
        with torch.no_grad():
            return deform(self.asset.neighbourhoods, self.asset.quats, self.asset.scales, self.means)

    def select(self, index: Tensor | slice) -> Frames:
        """The frames named by ``index``."""
        given = None
        if self.given is not None or "_derived" in self.__dict__:
            rotations, quats, scales = (part[index] for part in self._derived)
            given = (rotations, quats, scales)
        return Frames(self.asset, self.means[index], given, None if self.shown is None else self.shown[index])

    def showing(self, shown: Tensor) -> Frames:
        """The same frames, with only those Gaussians in sight for which ``shown`` [T, N] is True."""
        return replace(self.select(slice(None)), shown=shown)

    def asset_at(self, index: int) -> Gaussians:
        """One frame as an asset of its own, its colours turned with its Gaussians."""
        return replace(
            self.asset,
            means=self.means[index],
            quats=self.quats[index],
            log_scales=self.scales[index].clamp(min=1e-30).log(),
            sh=rotate_sh(self.asset.sh, quaternion_matrices(self.rotations[index])),
        )
