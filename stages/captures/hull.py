"""Visual hull: where a thing can be, given its cameras and the masks of its photos."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stages.cameras import Camera
from stages.captures.capture import Photo

MASK_MIN = 128
"""Alpha from which a pixel belongs to the thing."""
MASKED_MIN, MASKED_MAX = 0.002, 0.98
"""Share of an image that a mask covers; outside this range the alpha channel is no mask."""
COARSE, FINE = 64, 128
"""Voxels along a side: to find the thing's box, then within it."""


def has_masks(photos: Sequence[Photo]) -> bool:
    """Whether every photo's alpha tells the thing from what is behind it."""
    shares = [float((photo.rgba[..., 3] >= MASK_MIN).float().mean()) for photo in photos]
    return all(share < MASKED_MAX for share in shares) and sum(share > MASKED_MIN for share in shares) >= 3


def seen_box(cameras: Sequence[Camera]) -> tuple[Tensor, float]:
    """Centre [3] and half side of the cube that the cameras look at.

    The centre is the point nearest to all optical axes (least squares); the half side is what the camera at the median
    distance sees of the plane through it.
    """
    positions = torch.stack([camera.position for camera in cameras]).double()
    forward = torch.stack([camera.viewmat[2, :3] for camera in cameras]).double()
    across = torch.eye(3, dtype=torch.float64) - forward[:, :, None] * forward[:, None, :]
    # a little of the mean position keeps this solvable where all axes are parallel
    weight = 1e-6 * len(cameras)
    A = across.sum(dim=0) + weight * torch.eye(3, dtype=torch.float64)
    b = (across @ positions[..., None]).sum(dim=0)[:, 0] + weight * positions.mean(dim=0)
    centre = torch.linalg.solve(A, b)
    half_fov = torch.tensor([0.5 * max(c.width / float(c.K[0, 0]), c.height / float(c.K[1, 1])) for c in cameras])
    reach = (positions - centre).norm(dim=-1).float() * half_fov
    return centre.float(), float(reach.median())


def visual_hull(photos: Sequence[Photo]) -> tuple[Tensor, Tensor, float] | None:
    """Surface points [P, 3], their mean colours in the photos [P, 3], and their spacing; None when the hull is empty.

    Laurentini 1994: what projects into the mask of every photo that sees it, and is seen by at least half of them.
    """
    centre, half = seen_box([photo.camera for photo in photos])
    coarse, step = _grid(centre - half, centre + half, COARSE)
    inside = _inside(coarse, photos)
    if not inside.any():
        return None
    points = coarse[inside]
    fine, step = _grid(points.amin(dim=0) - step, points.amax(dim=0) + step, FINE)
    inside = _inside(fine, photos)
    if not inside.any():
        return None
    padded = torch.nn.functional.pad(inside, (1, 1, 1, 1, 1, 1))
    neighbours = [padded.roll(shift, dim)[1:-1, 1:-1, 1:-1] for dim in range(3) for shift in (-1, 1)]
    surface = fine[inside & ~torch.stack(neighbours).all(dim=0)]
    return surface, _mean_colors(surface, photos), float(step.max())


def _grid(low: Tensor, high: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Centres [count, count, count, 3] of the voxels of a box, and a voxel's sides [3]."""
    step = (high - low) / count
    axes = [low[k] + step[k] * (torch.arange(count) + 0.5) for k in range(3)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1), step


def _pixels(points: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """Row-major pixel index of each point, and whether the point is in the picture."""
    depth = points @ camera.viewmat[2, :3] + camera.viewmat[2, 3]
    xy = camera.project(points)
    column, row = xy[..., 0].floor(), xy[..., 1].floor()
    seen = (depth > 0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    return torch.where(seen, row * camera.width + column, torch.zeros_like(row)).long(), seen


def _inside(points: Tensor, photos: Sequence[Photo]) -> Tensor:
    carved = torch.zeros(points.shape[:-1], dtype=torch.bool)
    times_seen = torch.zeros(points.shape[:-1], dtype=torch.int32)
    for photo in photos:
        pixel, seen = _pixels(points, photo.camera)
        mask = (photo.rgba[..., 3] >= MASK_MIN).flatten()[pixel]
        carved |= seen & ~mask
        times_seen += seen.int()
    return ~carved & (times_seen * 2 >= len(photos))


def _mean_colors(points: Tensor, photos: Sequence[Photo]) -> Tensor:
    total, weight = torch.zeros_like(points), torch.zeros(len(points), 1)
    for photo in photos:
        pixel, seen = _pixels(points, photo.camera)
        rgba = photo.rgba.reshape(-1, 4)[pixel].float() / 255.0
        share = rgba[:, 3:] * seen[:, None]
        total, weight = total + share * rgba[:, :3], weight + share
    return total / weight.clamp(min=1e-6)
