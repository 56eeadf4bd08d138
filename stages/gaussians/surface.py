"""Flat Gaussians on a triangle surface: what a mesh becomes."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.gaussians.asset import Gaussians
from stages.gaussians.sh import rgb_to_sh0

FLATNESS = 0.15
"""Thickness of a Gaussian over its extent in the surface [ours]."""

OPACITY = 0.95
"""[ours]"""


def flat_gaussians(
    points: Tensor, normals: Tensor, colors: Tensor, spacing: float, alpha: Tensor | None = None
) -> Gaussians:
    """One Gaussian a point [M, 3], flat across its normal [M, 3], wide enough to touch its neighbours.

    ``colors`` [M, 3] are displayed (sRGB) values in [0, 1]; ``alpha`` [M] says how solid they are, all of them when
    None.
    """
    solid = torch.full((len(points),), OPACITY) if alpha is None else OPACITY * alpha
    extent = torch.tensor([spacing, spacing, FLATNESS * spacing]).to(points) * 0.65
    return Gaussians(
        means=points,
        quats=_quats_from_z(torch.nn.functional.normalize(normals, dim=-1)),
        log_scales=extent.log().expand(len(points), 3).clone(),
        logit_opacities=torch.logit(solid).to(points),
        sh=rgb_to_sh0(colors)[:, None],
    )


def _quats_from_z(directions: Tensor) -> Tensor:
    """Unit quaternions wxyz [M, 4] that turn +z into unit ``directions`` [M, 3]."""
    x, y, z = directions.unbind(dim=-1)
    quats = torch.stack([1.0 + z, -y, x, torch.zeros_like(x)], dim=-1)
    flipped = torch.tensor([0.0, 1.0, 0.0, 0.0]).to(directions).expand_as(quats)  # half a turn about x
    return torch.nn.functional.normalize(torch.where((z < -0.999999)[:, None], flipped, quats), dim=-1)
