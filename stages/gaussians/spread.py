"""Some Gaussians of an asset, spread evenly over it; and an order in which neighbours follow each other."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.gaussians.asset import Gaussians

OPAQUE = 0.1
"""Gaussians below this opacity are not looked at."""


def spread_points(asset: Gaussians, count: int, seed: int) -> Tensor:
    """Indices [M] of at most ``count`` Gaussians spread evenly over the asset: each is the one farthest from those
    before it (Gonzalez 1985), among those of the body that can be seen: far ones would be chosen first."""
    seen = (asset.body & (asset.opacities.reshape(-1) >= OPAQUE)).nonzero()[:, 0]
    if not len(seen):
        seen = asset.body.nonzero()[:, 0]
    points = asset.means[seen]
    if len(points) <= count:
        return seen
    chosen = [int(torch.randint(0, len(points), (), generator=torch.Generator().manual_seed(seed)))]
    away = (points - points[chosen[0]]).square().sum(dim=1)
    for _ in range(count - 1):
        chosen.append(int(away.argmax()))
        away = torch.minimum(away, (points - points[chosen[-1]]).square().sum(dim=1))
    return seen[torch.tensor(chosen, device=seen.device)]


def along_curve(points: Tensor) -> Tensor:
    """The order [N] of ``points`` [N, 3] along a Morton curve (Morton 1966) through their box: 256 that follow each
    other lie close together, which is what compressed files are good at."""
    low, high = points.amin(dim=0), points.amax(dim=0)
    cells = ((points - low).double() / (high - low).double().clamp(min=1e-30).max() * 1023.0).long()
    code = torch.zeros(len(points), dtype=torch.long, device=points.device)
    for bit in range(10):
        for axis in range(3):
            code |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
    return code.argsort(stable=True)
