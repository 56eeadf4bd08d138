"""The asset: a static set of 3D Gaussians in the INRIA parameterisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from stages.gaussians.deformation import Neighbourhoods


FAR = 4.0
"""Bodies with long tails, trunks and wings stay below 3 [ours]."""


@dataclass(frozen=True, kw_only=True)
class Gaussians:
    """N anisotropic Gaussians with spherical-harmonic colour, in the world frame of ``stages.conventions``."""

    means: Tensor  # [N, 3] world units
    quats: Tensor  # [N, 4] wxyz, unit length
    log_scales: Tensor  # [N, 3] natural log of the standard deviation along each local axis
    logit_opacities: Tensor  # [N]
    sh: Tensor  # [N, K, 3] spherical harmonics, K = (degree + 1) ** 2, INRIA order and sign; rgb = 0.5 + C0 * sh[:, 0]

    @property
    def num_gaussians(self) -> int:
        """N."""
        return self.means.shape[0]

    @property
    def sh_degree(self) -> int:
        """Degree of the spherical harmonics, 0 to 3."""
        return round(self.sh.shape[1] ** 0.5) - 1

    @property
    def scales(self) -> Tensor:
        """Linear standard deviations, [N, 3]."""
        return self.log_scales.exp()

    @property
    def opacities(self) -> Tensor:
        """Linear opacities in (0, 1), [N]."""
        return torch.sigmoid(self.logit_opacities)

    @cached_property
    def neighbourhoods(self) -> Neighbourhoods:
        """Each Gaussian's neighbours at rest, found once: how it turns and stretches follows from them."""
        from stages.gaussians.deformation import Neighbourhoods

        return Neighbourhoods.of(self.means)

    @cached_property
    def body(self) -> Tensor:
        """[N] True for all but the far Gaussians: those more than ``FAR`` times as far from the median Gaussian as nine
        in ten of them are."""
        distances = (self.means - self.means.median(dim=0).values).norm(dim=-1)
        usual = distances.kthvalue(max(1, round(0.9 * len(distances)))).values
        return (distances <= FAR * usual) | (usual == 0.0)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Axis-aligned box of the means of the body, which a few far Gaussians do not stretch: ``(low, high)``, each
        [3]."""
        means = self.means[self.body]
        return means.amin(dim=0), means.amax(dim=0)

    def to(self, device: torch.device | str) -> Gaussians:
        """The same asset with every tensor on ``device``."""
        return replace(
            self,
            means=self.means.to(device),
            quats=self.quats.to(device),
            log_scales=self.log_scales.to(device),
            logit_opacities=self.logit_opacities.to(device),
            sh=self.sh.to(device),
        )

    def select(self, index: Tensor) -> Gaussians:
        """The Gaussians named by ``index`` (integer [M] or boolean [N])."""
        return replace(
            self,
            means=self.means[index],
            quats=self.quats[index],
            log_scales=self.log_scales[index],
            logit_opacities=self.logit_opacities[index],
            sh=self.sh[index],
        )


def joined(parts: Sequence[Gaussians]) -> Gaussians:
    """All Gaussians of ``parts`` as one asset; harmonics that some of them lack are zero."""
    widest = max(part.sh.shape[1] for part in parts)
    padded = [torch.nn.functional.pad(part.sh, (0, 0, 0, widest - part.sh.shape[1])) for part in parts]
    return Gaussians(
        means=torch.cat([part.means for part in parts]),
        quats=torch.cat([part.quats for part in parts]),
        log_scales=torch.cat([part.log_scales for part in parts]),
        logit_opacities=torch.cat([part.logit_opacities for part in parts]),
        sh=torch.cat(padded),
    )
