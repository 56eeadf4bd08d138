"""Which Gaussians of a capture to keep: each function returns a mask [N], True for those that stay."""

from __future__ import annotations

import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from stages.gaussians.asset import Gaussians
from stages.gaussians.neighbours import nearest_neighbours

LINK = 5.0
"""Neighbours belong together up to this many times the typical distance to the nearest one [ours]: at 3 a capture of
a plant falls apart, at 10 a robot grows together with the floor it stands on."""

REACH = 2.5
"""They also do where each lies within this many standard deviations of the other [ours]: a smooth pot is a few large
Gaussians far apart. Measured along the middle axis, for needles reach anywhere."""

NEIGHBOURS = 16

FLAT = 0.1
"""A body whose thickness is below this fraction of its width is a sheet: a floor, a table, a backdrop [ours]."""


def opaque(gaussians: Gaussians, least: float) -> Tensor:
    """Those with an opacity of at least ``least``."""
    return gaussians.opacities >= least


def small(gaussians: Gaussians, most: float) -> Tensor:
    """Those whose longest standard deviation is at most ``most`` times the diagonal of the asset.

    The diagonal is that of the box of the middle 98 % along each axis, which a few floaters far out do not stretch.
    """
    num = gaussians.num_gaussians
    ordered = gaussians.means.sort(dim=0).values
    low, high = ordered[num // 100], ordered[num - 1 - num // 100]
    return gaussians.scales.amax(dim=-1) <= most * (high - low).norm()


def inside(gaussians: Gaussians, crop: tuple[float, ...]) -> Tensor:
    """Those whose mean lies in a ball or a box.

    ``crop`` is a radius about the median Gaussian, the centre and radius of a ball (4 numbers), or the lowest and the
    highest corner of a box (6 numbers); world units.
    """
    numbers = torch.tensor(crop)
    if len(crop) == 6:
        return ((gaussians.means >= numbers[:3]) & (gaussians.means <= numbers[3:])).all(dim=-1)
    middle = gaussians.means.median(dim=0).values if len(crop) == 1 else numbers[:3]
    return (gaussians.means - middle).norm(dim=-1) <= numbers[-1]


def largest_body(gaussians: Gaussians) -> Tensor:
    """The connected body of most Gaussians that is not a flat sheet (or is, where there are only sheets)."""
    if gaussians.num_gaussians < 3:
        return torch.ones(gaussians.num_gaussians, dtype=torch.bool)
    label = pieces(gaussians)
    by_size = label.bincount().argsort(descending=True)
    bodies = (label == body for body in by_size[:16])
    return next((body for body in bodies if not _is_sheet(gaussians.means[body])), label == by_size[0])


def pieces(gaussians: Gaussians) -> Tensor:
    """The number [N] of the connected piece to which each of at least three Gaussians belongs.

    Two Gaussians are connected when one is among the nearest neighbours of the other and they are near by ``LINK`` or
    by ``REACH``.
    """
    num = gaussians.num_gaussians
    indices, distances = nearest_neighbours(gaussians.means, NEIGHBOURS)
    width = gaussians.scales.median(dim=-1).values
    limit = (REACH * torch.minimum(width[:, None], width[indices])).clamp(min=float(LINK * distances[:, 0].median()))
    rows, columns = (distances <= limit).nonzero(as_tuple=True)
    links = coo_array((torch.ones(len(rows)), (rows, indices[rows, columns])), shape=(num, num))
    return torch.from_numpy(connected_components(links, directed=False)[1])


def _is_sheet(points: Tensor) -> bool:
    """Whether ``points`` [M, 3] spread in two directions and hardly in the third."""
    if len(points) < 4:
        return True
    spread = torch.linalg.svdvals((points - points.mean(dim=0)).double())
    return bool(spread[2] < FLAT * spread[1])
