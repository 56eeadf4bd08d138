"""A coarse stand-in for a large asset: Gaussians that share a small cube become one.

A motion field is a function of space, so what is distilled through the stand-in moves the asset itself. At the size
that a video prior sees, a capture of a hundred thousand Gaussians has dozens a pixel, and each costs time in every
step. Measured on a capture of a plant (112,699 Gaussians) from four sides, 64 pixels: PSNR to the asset's
own picture 24 dB with 4,000, 27 dB with 8,000, 29 dB with 16,000.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.gaussians.asset import Gaussians
from stages.geometry.rotations import matrix_quaternions, quaternion_matrices

OUTSIDE = 10.0
"""Sides of the body's box away: farther ones lie together."""

BISECTIONS = 12
"""Halvings of the cube's size; the number of Gaussians ends within a few per cent of what was asked for."""


def stand_in(gaussians: Gaussians, most: int) -> Gaussians:
    """At most ``most`` Gaussians that look from afar as ``gaussians`` do; these themselves when they are no more.

    Gaussians are merged so that mean and covariance of each group, weighted by opacity times size, stay what they are
    (moment matching, as in hierarchies of Gaussians: Kerbl et al. 2024), and so does the light they stop.
    """
    if gaussians.num_gaussians <= most:
        return gaussians
    group = cells(gaussians.means, most, gaussians.bounds())
    count = int(group.max()) + 1

    def pooled(values: Tensor) -> Tensor:
        shape = (count, *values.shape[1:])
        return torch.zeros(shape, dtype=values.dtype, device=values.device).index_add_(0, group, values)

    means, covariances = gaussians.means.double(), covariance(gaussians)
    stopped = gaussians.opacities.double() * area(gaussians.scales.double())
    share = (stopped / pooled(stopped)[group])[:, None]
    centres = pooled(share * means)
    away = means - centres[group]
    spread = pooled(share[..., None] * (covariances + away[:, :, None] * away[:, None, :]))
    scales, quats = axes(spread)
    opacities = (pooled(stopped) / area(scales)).clamp(max=float(gaussians.opacities.max()))
    dtype = gaussians.means.dtype
    return Gaussians(
        means=centres.to(dtype),
        quats=quats.to(dtype),
        log_scales=scales.log().to(dtype),
        logit_opacities=torch.logit(opacities, eps=1e-6).to(dtype),
        sh=pooled(share[..., None] * gaussians.sh.double()).to(dtype),
    )


def cells(points: Tensor, most: int, box: tuple[Tensor, Tensor]) -> Tensor:
    """The number [N] of the cube in which each of ``points`` [N, 3] lies, of cubes so large that at most ``most`` hold
    any. ``box`` is that of the body: points far from it, which would make all cubes large, share those at ``OUTSIDE``.
    """
    low = box[0]
    places = ((points - low) / float((box[1] - low).max())).clamp(-OUTSIDE, OUTSIDE)
    places = places - places.amin(dim=0)

    def numbered(parts: float) -> Tensor:
        where = (places * parts).floor().long()
        return torch.unique(where @ torch.tensor([1, 1 << 20, 1 << 40]).to(where), return_inverse=True)[1]

    coarse, fine = 0.99 / float(places.max()), 4.0 * most**0.5 + 2.0  # all in one cube, surely in more than that
    for _ in range(BISECTIONS):
        middle = (coarse * fine) ** 0.5
        if int(numbered(middle).max()) < most:
            coarse = middle
        else:
            fine = middle
    return numbered(coarse)


def covariance(gaussians: Gaussians) -> Tensor:
    """World covariances [N, 3, 3], double."""
    half = quaternion_matrices(gaussians.quats.double()) * gaussians.scales.double()[:, None, :]
    return half @ half.transpose(1, 2)


def area(scales: Tensor) -> Tensor:
    """What a Gaussian covers of a picture, up to a factor: the mean over the axes of the product of the other two."""
    x, y, z = scales.unbind(dim=-1)
    return (x * y + y * z + z * x) / 3.0


def axes(covariances: Tensor) -> tuple[Tensor, Tensor]:
    """Standard deviations [M, 3] and quaternions wxyz [M, 4] of covariances [M, 3, 3]."""
    variances, directions = torch.linalg.eigh(covariances)
    directions[..., 2] *= torch.linalg.det(directions).sign()[..., None]  # of either handedness otherwise
    return variances.clamp(min=1e-18).sqrt(), matrix_quaternions(directions)
