"""The ground that an asset moves over: a checkerboard with a soft shadow, drawn behind the splat.

AKD renders its bodies over such a plane (Li et al. 2025, "Articulated Kinematics Distillation from Video Diffusion
Models"): a video prior then sees contact, and whether feet slide. Nothing of the body that is in sight lies below the
plane, so from above the plane never hides the body: it is a background layer. Each pixel's ray is cast onto the plane;
a rasterizer takes the layer as ``background``. No gradient goes through it.

The checkerboard is filtered exactly over the rectangle, along the tiles, around what a pixel covers: a square wave
averaged over a width is a difference of its integral, a triangle wave. So distant tiles become grey and do not flicker.

The shadow [ours] is that of light from straight above, softer and fainter the higher the part of the body that casts
it: two top-down pictures of the body, one of what nearly touches the ground, one of all of it, each blurred.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.cameras import Camera
from stages.gaussians import Frames, Gaussians
from stages.geometry.rotations import quaternion_matrices
from stages.settings import check

TILES_A_BODY = 5.0
"""Tiles along the longest side of a body. [ours]"""

CELLS_A_TILE = 12
"""Resolution of the shadow."""

WINDOW_CELLS = 256
"""Side of the square around the body in which a shadow falls."""

Rgb = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A plane and how it looks.

    It fades by the distance from the camera over the camera's height above the plane: so by how far below the horizon a
    pixel is, whatever the size of the picture's contents. Under a camera that stands still only the shadow moves.
    """

    height: float  # y of the plane, world units
    tile: float  # side of a tile, world units
    colors: tuple[Rgb, Rgb] = ((0.90, 0.91, 0.92), (0.70, 0.73, 0.77))
    fade: tuple[float, float] = (3.0, 12.0)  # heights of the camera: where it begins to fade, and where nothing is left
    shadow: float = 0.6  # how much of the light the shadow takes, 0 to 1

    def __post_init__(self) -> None:
        check(self, tile=1e-9, shadow=0)

    @staticmethod
    def under(asset: Gaussians) -> Ground:
        """The ground on which ``asset`` stands at rest: through the lowest point of its body."""
        low, high = asset.bounds()
        return Ground(height=float(low[1]), tile=float((high - low).max()) / TILES_A_BODY or 1.0)


@dataclass(frozen=True)
class Shade:
    """One part of the shadow, in tiles."""

    reach: float  # height above the ground at which a part of the body casts 1 / e of its shadow
    blur: float  # standard deviation


SHADES = (Shade(reach=0.15, blur=0.12), Shade(reach=2.0, blur=0.5))
"""What touches the ground, and the whole body. [ours]"""


def above_ground(frames: Frames, height: float) -> Frames:
    """``frames`` in which Gaussians are not seen while their means are below ``y = height``, as in AKD."""
    return frames.showing(frames.means.detach()[..., 1] >= height)


@torch.no_grad()
def ground_layer(frames: Frames, cameras: Sequence[Camera], ground: Ground, background: Tensor) -> Tensor:
    """What is behind the splat: the ground where a pixel's ray meets it, else ``background``.

    Args:
        frames: T frames of the body, which cast the shadow.
        cameras: one a frame. A camera below the plane sees no ground.
        background: [3].

    Returns:
        [T, H, W, 3].
    """
    assert frames.num_frames == len(cameras), "one camera a frame"
    assert background.shape == (3,)
    background = background.to(frames.means)
    layers: list[Tensor] = []
    seen: Floor | None = None
    for index, camera in enumerate(cameras):
        if seen is None or camera is not cameras[index - 1]:
            seen = look_down(camera, ground, frames.means)
        light = 1.0 - ground.shadow * _shadow_at(seen.points, frames, index, ground)
        lit = seen.color * light[..., None]
        layers.append(torch.lerp(background.expand_as(lit), lit, seen.kept[..., None]))
    return torch.stack(layers)


@dataclass(frozen=True)
class Floor:
    """What one camera sees of a plane."""

    kept: Tensor  # [H, W] 1 where it is seen, towards 0 where it fades, 0 where the ray does not meet it
    points: Tensor  # [H, W, 2] x and z of where the ray meets it
    color: Tensor  # [H, W, 3] of the tiles, filtered


def look_down(camera: Camera, ground: Ground, like: Tensor) -> Floor:
    """The plane without its shadow, on the device of ``like``."""
    viewmat, K = camera.viewmat.to(like), camera.K.to(like)
    R_world_cam = viewmat[:3, :3].T
    origin = -R_world_cam @ viewmat[:3, 3]
    columns = (torch.arange(camera.width).to(like) + 0.5 - K[0, 2]) / K[0, 0]
    rows = (torch.arange(camera.height).to(like) + 0.5 - K[1, 2]) / K[1, 1]
    x, y = torch.meshgrid(columns, rows, indexing="xy")
    rays = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ R_world_cam.T  # [H, W, 3]
    above = origin[1] - ground.height
    hit = (rays[..., 1] < -1e-6) & (above > 0.0)
    fall = torch.where(hit, rays[..., 1], torch.full_like(x, -1.0))
    far = above / -fall  # along the ray, in depths
    away = far[..., None] * rays[..., [0, 2]]
    kept = hit * (1.0 - _smooth_step(away.norm(dim=-1) / above, *ground.fade))
    points = origin[[0, 2]] + away
    # how the point on the plane moves when the pixel moves by one column, and by one row
    steps = [
        far[..., None] * (step[[0, 2]] - rays[..., [0, 2]] * (step[1] / fall)[..., None])
        for step in (R_world_cam[:, 0] / K[0, 0], R_world_cam[:, 1] / K[1, 1])
    ]
    width = steps[0].abs() + steps[1].abs()
    waves = _square_wave(points / ground.tile, width / ground.tile)  # [H, W, 2]
    share = 0.5 + 0.5 * waves[..., :1] * waves[..., 1:]
    first, second = (torch.tensor(color).to(like) for color in ground.colors)
    return Floor(kept, points, torch.lerp(second, first, share))


def _square_wave(places: Tensor, width: Tensor) -> Tensor:
    """Mean over ``width`` around ``places`` of a wave that is 1 and -1 in turn, for a length of 1 each."""
    width = width.clamp(min=1e-4)

    def integral(at: Tensor) -> Tensor:  # from 0: up to 1 at 1, down to 0 at 2, and so on
        return 1.0 - (torch.remainder(at, 2.0) - 1.0).abs()

    return (integral(places + 0.5 * width) - integral(places - 0.5 * width)) / width


def _smooth_step(values: Tensor, begin: float, end: float) -> Tensor:
    """0 below ``begin``, 1 above ``end``, without a corner between."""
    share = ((values - begin) / (end - begin)).clamp(0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


def _shadow_at(points: Tensor, frames: Frames, index: int, ground: Ground) -> Tensor:
    """How much of the light the body takes in frame ``index`` at ``points`` [H, W, 2], [H, W] in [0, 1]."""
    grid, corner = shadow_grid(frames, index, ground)
    cell = ground.tile / CELLS_A_TILE
    places = 2.0 * (points - corner) / (cell * WINDOW_CELLS) - 1.0  # -1 and 1: the outer edges of the window
    found = torch.nn.functional.grid_sample(grid[None, None], places[None], align_corners=False)
    return found[0, 0]


def shadow_grid(frames: Frames, index: int, ground: Ground) -> tuple[Tensor, Tensor]:
    """The shadow of frame ``index`` from above, [Z, X] in [0, 1], and the corner [2] (x, z) where the grid begins.

    Cells lie on a lattice of the world, so that a body at rest has the same shadow in every frame.
    """
    body, cell = frames.asset.body, ground.tile / CELLS_A_TILE
    means, M = frames.means[index, body], quaternion_matrices(frames.quats[index, body])
    opacities = frames.asset.opacities[body]
    halves = M[:, [0, 2]] * frames.scales[index, body][:, None]  # [N, 2, 3] seen from above
    xx, xz, zz = ((halves[:, i] * halves[:, j]).sum(dim=-1) for i, j in ((0, 0), (0, 1), (1, 1)))
    area = 2.0 * math.pi * (xx * zz - xz * xz).clamp(min=0.0).sqrt() / cell**2  # in cells
    up = (means[:, 1] - ground.height) / ground.tile
    weight = torch.where(up >= 0.0, opacities * area, torch.zeros_like(up))
    first = (means[:, [0, 2]].mean(dim=0) / cell).floor() - WINDOW_CELLS // 2
    places = means[:, [0, 2]] / cell - first - 0.5
    light = torch.ones(WINDOW_CELLS, WINDOW_CELLS).to(means)
    for shade in SHADES:
        mass = _scatter(places, weight * torch.exp(-up.clamp(min=0.0) / shade.reach))
        covered = 1.0 - torch.exp(-_blurred(mass, 1.0))
        light = light * (1.0 - _blurred(covered, shade.blur * CELLS_A_TILE))
    return 1.0 - light, first * cell


def _scatter(places: Tensor, weights: Tensor) -> Tensor:
    """A grid [Z, X] over which ``weights`` [N] are spread, each over the four cells around ``places`` [N, 2] (x, z)."""
    grid = torch.zeros(WINDOW_CELLS * WINDOW_CELLS).to(weights)
    corner = places.floor()
    for step_x in (0.0, 1.0):
        for step_z in (0.0, 1.0):
            at = corner + torch.tensor([step_x, step_z]).to(corner)
            share = (1.0 - (places - at).abs()).prod(dim=-1)
            inside = ((at >= 0.0) & (at < WINDOW_CELLS)).all(dim=-1)
            x, z = at[inside].long().unbind(dim=-1)
            grid.index_add_(0, z * WINDOW_CELLS + x, (weights * share)[inside])
    return grid.reshape(WINDOW_CELLS, WINDOW_CELLS)


def _blurred(grid: Tensor, deviation: float) -> Tensor:
    """``grid`` [Z, X] blurred by a Gaussian of ``deviation`` cells; zeros lie around it."""
    half = math.ceil(3.0 * deviation)
    offsets = torch.arange(-half, half + 1).to(grid)
    kernel = torch.exp(-0.5 * (offsets / deviation) ** 2)
    kernel = kernel / kernel.sum()
    image = grid[None, None]
    for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
        image = torch.nn.functional.conv2d(image, kernel.reshape(shape), padding="same")
    return image[0, 0]
