"""Soft light on a surface, to be baked into colours: a plain grey body shows its form, as it would under a clouded sky.

The sky is bright above and dim below, and a point sees the part of it that the surface itself does not hide: hemisphere
light and ambient occlusion in one sum over directions. What is hidden is found in depth maps of points of the surface
(Williams 1978), one a direction; so it does not matter which way triangles are wound, and no rays are drawn by chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.conventions import step_generator
from stages.meshes.paint import Colors
from stages.meshes.surface import sample_surface

NUM_DIRECTIONS = 96
NUM_OCCLUDERS = 60_000
"""Points of the surface that a depth map is drawn from. [ours]"""

BELOW = 0.2
"""Brightness of the sky straight below; straight above it is 1. [ours]"""

BRIGHTEST = 0.98
"""This share of the points is no brighter than what counts as fully lit. [ours]"""

GRAZING = 0.05
"""Below this cosine, depth maps cannot tell what is hidden, and it would hardly count. [ours]"""

CELL = 2.5
"""Width of a cell of a depth map over the distance of the points it is drawn from: few cells are then empty. [ours]"""


@dataclass(frozen=True)
class Light:
    """How strongly a mesh is lit: 0 leaves its colours, 1 has the full contrast of the sky."""

    strength: float
    up: tuple[float, float, float] = (0.0, 1.0, 0.0)  # where the sky is, in the mesh's frame


def lit_colors(
    colors: Colors, points: Tensor, normals: Tensor, vertices: Tensor, faces: Tensor, light: Light
) -> Tensor:
    """Displayed colours [M, 3] of ``points`` [M, 3] with ``normals`` [M, 3] on a mesh, in ``light``.

    Their mean stays what it was, so a body keeps its colour, and no colour is cut off: what is nearly white can only
    become darker. What is lit evenly, as a plane is, does not change. Surfaces that send out light, or are
    unlit, stay as they are in so far.

    Args:
        vertices, faces: [V, 3] and [F, 3], the mesh.
    """
    if light.strength <= 0.0 or not bool((colors.lit > 0.0).any()):
        return colors.rgb
    shade = 1.0 - light.strength * (1.0 - sky_light(points, normals, vertices, faces, light.up))
    shade = (shade / shade[colors.lit > 0.0].quantile(BRIGHTEST)).clamp(max=1.0)
    usual = float((shade * colors.lit).sum() / colors.lit.sum())
    gain = (1.0 / colors.rgb.amax(dim=1).clamp(min=1e-6)).clamp(max=1.0 / usual)
    return (colors.rgb * (1.0 + colors.lit * (shade * gain - 1.0))[:, None]).clamp(0.0, 1.0)


def sky_light(
    points: Tensor, normals: Tensor, vertices: Tensor, faces: Tensor, up: tuple[float, float, float]
) -> Tensor:
    """How much of the sky's light reaches ``points`` [M, 3] of a mesh, [M] in [0, 1]: 1 where the surface looks
    straight up and nothing is above. Of its two sides that is taken which sees more: meshes may be wound inside out."""
    occluders = sample_surface(vertices, faces, NUM_OCCLUDERS, step_generator(0, 0))
    surface = occluders.interpolate(vertices[faces])
    low, high = surface.amin(dim=0), surface.amax(dim=0)
    size = float((high - low).norm().clamp(min=1e-12))
    surface, places = (surface - low) / size, (points - low) / size
    cell = max(CELL * occluders.spacing / size, 1.0 / 400.0)
    directions = _directions(NUM_DIRECTIONS).to(points)
    normals = torch.nn.functional.normalize(normals, dim=-1)
    sky = BELOW + (1.0 - BELOW) * (0.5 + 0.5 * directions @ torch.tensor(up).to(points))
    total = points.new_zeros(2, len(points))
    seen = points.new_zeros(2, len(points))
    for direction, brightness in zip(directions, sky, strict=True):
        cosine = normals @ direction
        open_there = _unhidden(places, cosine, surface, direction, cell)
        for side, weight in enumerate((cosine.clamp(min=0.0), (-cosine).clamp(min=0.0))):
            total[side] += weight * open_there * brightness
            seen[side] += weight * open_there
    whole = len(directions) / 4.0  # the sum of a cosine over half of evenly spread directions
    chosen = (seen[1] > 1.2 * seen[0]).long()  # the triangles' own side, unless it clearly is an inner one
    brightest = BELOW + (1.0 - BELOW) * 5.0 / 6.0  # the integral where all of the sky is above
    return (total.gather(0, chosen[None])[0] / whole / brightest).clamp(0.0, 1.0)


def _unhidden(places: Tensor, cosine: Tensor, surface: Tensor, direction: Tensor, cell: float) -> Tensor:
    """Which ``places`` [M, 3] are not behind the points ``surface`` [S, 3], seen from ``direction``: [M] of 0 and 1.
    ``cosine`` [M] is the surface's to the direction: at a slope, depth differs within a cell."""
    helper = torch.tensor([1.0, 0.0, 0.0] if abs(float(direction[0])) < 0.9 else [0.0, 1.0, 0.0]).to(direction)
    across = torch.nn.functional.normalize(torch.linalg.cross(direction, helper), dim=0)
    plane = torch.stack([across, torch.linalg.cross(direction, across)], dim=1)  # [3, 2]
    start, width = -2.0, math.ceil(4.0 / cell) + 1  # coordinates lie in [-sqrt 3, sqrt 3]

    def cells(points: Tensor) -> Tensor:
        at = ((points @ plane - start) / cell).long()
        return at[:, 0] * width + at[:, 1]

    nearest = surface.new_full((width * width,), -math.inf)
    nearest = nearest.scatter_reduce(0, cells(surface), surface @ direction, reduce="amax")
    slope = (1.0 - cosine * cosine).clamp(min=0.0).sqrt() / cosine.abs().clamp(min=GRAZING)
    in_front = places @ direction >= nearest[cells(places)] - cell * (1.0 + 1.5 * slope)
    return (in_front | (cosine.abs() < GRAZING)).to(places)


def _directions(count: int) -> Tensor:
    """Unit vectors [count, 3] spread evenly over the sphere (Fibonacci spiral)."""
    k = torch.arange(count, dtype=torch.float64) + 0.5
    height, angle = 1.0 - 2.0 * k / count, k * math.pi * (1.0 + math.sqrt(5.0))
    radius = (1.0 - height * height).sqrt()
    return torch.stack([radius * angle.cos(), height, radius * angle.sin()], dim=1).float()
