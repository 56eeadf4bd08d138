"""Gaussians to start a fit from: a fixed number of them at coloured points."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.gaussians import Gaussians
from stages.gaussians.neighbours import nearest_neighbours
from stages.gaussians.sh import rgb_to_sh0

START_OPACITY = 0.5


def spread(points: Tensor, colors: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Exactly ``count`` of ``points`` [P, 3] and ``colors`` [P, 3]: a random choice of them; where there are too few,
    the rest lie between a point and one of its neighbours."""
    order = torch.randperm(len(points), generator=generator)[:count]
    missing = count - len(order)
    if missing == 0 or len(points) < 2:
        order = order.repeat(-(-count // len(order)))[:count]
        return points[order], colors[order]
    indices, _ = nearest_neighbours(points, k=min(4, len(points) - 1))
    first = torch.randint(0, len(points), (missing,), generator=generator)
    second = indices[first, torch.randint(0, indices.shape[1], (missing,), generator=generator)]
    share = torch.rand(missing, 1, generator=generator)
    between = [(1 - share) * values[first] + share * values[second] for values in (points, colors)]
    return torch.cat([points[order], between[0]]), torch.cat([colors[order], between[1]])


def gaussians_at(points: Tensor, colors: Tensor, sh_degree: int, extent: float) -> Gaussians:
    """Round Gaussians [N] as wide as the distance to their neighbours, as Kerbl et al. 2023 start; ``extent`` is the
    size of the scene in world units and bounds the width."""
    _, distances = nearest_neighbours(points, k=3)
    width = distances.square().mean(dim=-1).sqrt().clamp(1e-4 * extent, 0.1 * extent)
    count = len(points)
    sh = torch.zeros(count, (sh_degree + 1) ** 2, 3)
    sh[:, 0] = rgb_to_sh0(colors)
    return Gaussians(
        means=points.float(),
        quats=torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(count, 1),
        log_scales=width.float().log()[:, None].repeat(1, 3),
        logit_opacities=torch.full((count,), START_OPACITY).logit(),
        sh=sh,
    )
