"""The camera of a picture of the asset, found by matching it to renders (``--camera auto``).

1. Render the asset from all around, and compare outlines and colours, each brought to one place and size.
2. Improve the best few: least squares over six numbers (``stages.guides.aimed``), with derivatives by differences.
3. Show the match as a picture; refuse a poor one, and say where another camera matches nearly as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from stages.cameras import Camera
from stages.cameras.file import OrbitNumbers
from stages.errors import BadInput
from stages.events import Caution, Finished, Note, Progress, Report, Started, Wrote
from stages.gaussians import Gaussians
from stages.guides.aimed import DEGREES, Aim
from stages.media.contact_sheet import contact_sheet, write_png
from stages.raster import Rasterizer, render

AZIMUTHS, ELEVATIONS, FOVS = range(0, 360, 15), (-8, 6, 20, 34, 48, 60), (25.0, 45.0)
"""Degrees of the grid. [ours]"""

LEAST = torch.tensor([-math.inf, -14.0 / DEGREES, -math.inf, math.log(0.5 / math.tan(math.radians(31))), -0.8, -0.8])
MOST = torch.tensor([math.inf, 64.0 / DEGREES, math.inf, math.log(0.5 / math.tan(math.radians(9.5))), 0.8, 0.8])
"""Bounds of the numbers of an ``Aim``: elevations of -10 to 60 and fields of view of 20 to 60 degrees, and a little."""

COARSE_PX, SMALL_PX, FINE_PX = 96, 96, 192
"""Shorter sides of the renders that are compared. Rasterizers spread every Gaussian over 0.3 pixels, which makes thin
legs thick in small pictures: the last step is as large as time allows. [ours]"""

TRIED, KEPT = 8, 3
"""Views of the grid that are improved, and of those the ones that are improved on larger pictures. [ours]"""

APART = 25.0
"""Degrees between cameras that are not the same. [ours]"""

OVERLAP, COLOURS = 0.8, 0.15
"""A match is refused whose outlines overlap less, or whose colours, where both are, differ more. [ours]"""

RIVAL = 1.25
"""Times the best match's error (root mean square): another camera that is as near as this is told. [ours]"""


@dataclass(frozen=True)
class Match:
    """A camera that was tried, and how well it matches."""

    aim: Aim
    error: float  # root mean square difference of colours and outlines, blurred


@torch.no_grad()
def find_camera(
    asset: Gaussians,
    rgb: Tensor,
    mask: Tensor,
    rasterizer: Rasterizer,
    report: Report,
    *,
    background: Tensor,
    picture: Path | None = None,
) -> Camera:
    """The camera that sees of the ``asset`` what a picture shows; upright, its principal point in the middle.

    Args:
        rgb: [H, W, 3] in [0, 1]; the asset at rest.
        mask: [H, W] in [0, 1] how much of each pixel it covers.
        background: [3] or [H, W, 3] what is behind it.
        picture: a .png to which the match is written: the picture, the render, their difference.

    Returns:
        The camera in the units of ``asset``, for pictures of W x H.

    Raises:
        BadInput: nothing is in the mask, or no camera makes the asset look like that.
    """
    if float(mask.sum()) < 16.0:
        raise BadInput("Nothing is to be seen in the first frame.", "Give --camera FILE, as still writes it.")
    behind = (1.0 - mask[..., None]) * background
    search = _Search(asset, torch.cat([(rgb - behind).clamp(min=0.0), mask[..., None]], dim=-1).cpu(), rasterizer)
    report(Started("find the camera", TRIED + KEPT))
    found: list[Match] = []
    for done, aim in enumerate(search.grid()):
        found.append(search.improve(aim, SMALL_PX, steps=6))
        report(Progress(done + 1))
    finer = []
    for done, match in enumerate(distinct(found)[:KEPT]):
        finer.append(search.improve(match.aim, FINE_PX, steps=10))
        report(Progress(TRIED + done + 1))
    report(Finished("find the camera"))
    best, *others = distinct(finer)
    height, width = mask.shape
    camera = best.aim.camera(search.centre, width, height)
    seen = render(asset, [camera], rasterizer)
    overlap, colours = likeness(rgb, mask, seen.rgb[0], seen.alpha[0, ..., 0])
    if picture is not None:
        _show(picture, rgb, mask, seen.rgb[0], seen.alpha[0])
        report(Wrote(picture, "the first frame, the asset from the camera that was found, and their difference"))
    if overlap < OVERLAP or colours > COLOURS:
        raise BadInput(
            f"No camera was found from which the asset looks like the first frame: outlines overlap by {overlap:.0%}, "
            f"colours differ by {colours:.2f}.",
            "Make the picture with animus3d still, and give its --camera FILE.",
        )
    told = OrbitNumbers.of(camera, search.centre)
    report(
        Note(
            f"Camera: azimuth {told.azimuth_deg % 360:.0f}, elevation {told.elevation_deg:.0f}, fov "
            f"{told.fov_deg:.0f}; outlines overlap by {overlap:.0%}."
        )
    )
    for other in others:
        if other.error < RIVAL * best.error:
            where = f"azimuth {other.aim.azimuth_deg % 360:.0f}, elevation {other.aim.elevation_deg:.0f}"
            report(Caution(f"From {where} the asset looks nearly the same: if the match is wrong, give --camera FILE."))
    return camera


def likeness(rgb: Tensor, mask: Tensor, seen: Tensor, alpha: Tensor) -> tuple[float, float]:
    """Overlap of the outlines ``mask`` and ``alpha`` [H, W], and the mean difference of colours where both are;
    ``seen`` [H, W, 3] is premultiplied by ``alpha``."""
    both = torch.minimum(mask, alpha)
    overlap = float(both.sum() / torch.maximum(mask, alpha).sum().clamp(min=1e-6))
    away = (rgb - seen / alpha[..., None].clamp(min=1e-3)).abs().mean(dim=-1)
    return overlap, float((away * both).sum() / both.sum().clamp(min=1e-6))


def distinct(matches: Sequence[Match]) -> list[Match]:
    """``matches``, the best first, without those that are within ``APART`` of a better one."""
    kept: list[Match] = []
    for match in sorted(matches, key=lambda one: one.error):
        if all(_angle(match.aim, other.aim) > APART for other in kept):
            kept.append(match)
    return kept


class _Search:
    """The picture, premultiplied RGBA [H, W, 4], and renders to compare it with."""

    def __init__(self, asset: Gaussians, target: Tensor, rasterizer: Rasterizer) -> None:
        self.asset, self.target, self.rasterizer = asset, target, rasterizer
        low, high = asset.bounds()
        self.centre = 0.5 * (low + high).cpu()
        self.radius = 0.5 * float((high - low).norm())

    def grid(self) -> list[Aim]:
        """The ``TRIED`` best views of the grid, placed and as large as in the picture."""
        views = [
            Aim(float(azimuth), float(elevation), math.log(0.4 / self.radius), math.log(0.5 / math.tan(half)), 0.0, 0.0)
            for azimuth, elevation, half in product(AZIMUTHS, ELEVATIONS, [math.radians(fov / 2) for fov in FOVS])
        ]
        wanted, place = canonical(self.target[None])
        matches = []
        for some in (views[start : start + 24] for start in range(0, len(views), 24)):
            looks, places = canonical(self._render(some, COARSE_PX, COARSE_PX))
            errors = (looks - wanted).square().mean(dim=(1, 2, 3)).sqrt()
            for aim, error, here in zip(some, errors, places, strict=True):
                matches.append(Match(_moved(aim, here, place[0]), float(error)))
        chosen: list[Match] = []
        for match in sorted(matches, key=lambda one: one.error):
            if all(_angle(match.aim, other.aim) > 12.0 for other in chosen):
                chosen.append(match)
        return [match.aim for match in chosen[:TRIED]]

    def improve(self, aim: Aim, side_px: int, steps: int) -> Match:
        """The camera near ``aim`` that matches best (Levenberg-Marquardt), on pictures whose shorter side is
        ``side_px``."""
        height, width = self.target.shape[:2]
        scale = min(1.0, side_px / min(height, width))
        size = (max(8, round(scale * height)), max(8, round(scale * width)))
        wanted = _pooled(_resized(self.target, size)[None])[0]
        numbers, damping = aim.numbers().clamp(LEAST, MOST), 1e-2
        step_sizes = torch.tensor([0.05, 0.05, 0.01, 0.03, 0.005, 0.005], dtype=torch.float64)

        def residuals(several: Tensor) -> Tensor:
            pictures = self._render([Aim.of(one) for one in several], size[1], size[0])
            return (_pooled(pictures) - wanted).double()

        for _ in range(steps):
            tried = numbers + torch.cat([torch.zeros(1, 6), torch.diag(step_sizes)]).to(numbers)
            values = residuals(tried)
            jacobian = (values[1:] - values[0]) / step_sizes[:, None]  # [6, P]
            normal, slope = jacobian @ jacobian.T, jacobian @ values[0]
            dampings = damping * torch.tensor([0.1, 1.0, 30.0], dtype=torch.float64)
            diagonal = torch.diag(normal.diagonal().clamp(min=1e-9))
            candidates = torch.stack(
                [(numbers - torch.linalg.solve(normal + d * diagonal, slope)).clamp(LEAST, MOST) for d in dampings]
            )
            errors = residuals(candidates).square().mean(dim=1)
            best = int(errors.argmin())
            before = float(values[0].square().mean())
            if float(errors[best]) >= before:
                damping *= 100.0
                if damping > 1e6:
                    break
                continue
            numbers, damping = candidates[best], float(dampings[best].clamp(min=1e-5))
            if before - float(errors[best]) < 1e-4 * before:
                break
        return Match(Aim.of(numbers), float(residuals(numbers[None]).square().mean().sqrt()))

    def _render(self, aims: Sequence[Aim], width: int, height: int) -> Tensor:
        """Premultiplied RGBA [V, height, width, 4], on the CPU."""
        device = self.asset.means.device
        cameras = [aim.camera(self.centre, width, height).to(device) for aim in aims]
        seen = render(self.asset, cameras, self.rasterizer)
        return torch.cat([seen.rgb.clamp(0.0, 1.0), seen.alpha], dim=-1).cpu()


def canonical(pictures: Tensor, side: int = 32) -> tuple[Tensor, Tensor]:
    """Pictures [V, H, W, 4], premultiplied, each with its object in the middle and of one size: [V, 4, side, side]; and
    where it was, [V, 3]: x and y of its middle from the picture's and the root of its area, in shorter sides."""
    height, width = pictures.shape[1:3]
    short = min(height, width)
    alpha = pictures[..., 3]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    area = alpha.sum(dim=(1, 2)).clamp(min=1.0)
    middle = torch.stack([(alpha * x).sum(dim=(1, 2)), (alpha * y).sum(dim=(1, 2))], dim=-1) / area[:, None]
    size = area.sqrt()
    line = (torch.arange(side) + 0.5) / side * 2.0 - 1.0
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)  # [side, side, 2] as (x, y)
    pixels = middle[:, None, None] + 1.2 * size[:, None, None, None] * grid
    where = 2.0 * pixels / torch.tensor([width, height]) - 1.0
    looks = torch.nn.functional.grid_sample(pictures.permute(0, 3, 1, 2), where, align_corners=False)
    from_middle = (middle - 0.5 * torch.tensor([width, height])) / short
    return looks, torch.cat([from_middle, size[:, None] / short], dim=-1)


def _moved(aim: Aim, here: Tensor, there: Tensor) -> Aim:
    """``aim`` such that what is at ``here`` in its picture, as of ``canonical``, comes to ``there``."""
    growth = float(there[2] / here[2])
    x, y = (float(there[axis] - growth * here[axis]) for axis in (0, 1))
    return Aim(aim.azimuth_deg, aim.elevation_deg, aim.log_size + math.log(growth), aim.log_focal, x, y)


def _resized(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """``picture`` [H, W, C] of another ``size`` (height, width)."""
    resized = torch.nn.functional.interpolate(
        picture.permute(2, 0, 1)[None], size=size, mode="bilinear", antialias=True, align_corners=False
    )
    return resized[0].permute(1, 2, 0)


def _pooled(pictures: Tensor) -> Tensor:
    """Pictures [V, H, W, 4] blurred over 3 and over 12 pixels, [V, P]: the latter see where to go from afar."""
    channels = pictures.permute(0, 3, 1, 2)
    return torch.cat(
        [torch.nn.functional.avg_pool2d(channels, side, side // 2 + 1).flatten(1) for side in (3, 12)], dim=1
    )


def _angle(one: Aim, other: Aim) -> float:
    """Degrees between two places around the asset."""

    def place(aim: Aim) -> Tensor:
        azimuth, elevation = math.radians(aim.azimuth_deg), math.radians(aim.elevation_deg)
        level = math.cos(elevation)
        return torch.tensor([math.sin(azimuth) * level, math.sin(elevation), math.cos(azimuth) * level])

    return math.degrees(math.acos(max(-1.0, min(1.0, float(place(one) @ place(other))))))


def _show(path: Path, rgb: Tensor, mask: Tensor, seen: Tensor, alpha: Tensor) -> None:
    """The picture, the render and their difference side by side, on white."""
    left = rgb * mask[..., None] + (1.0 - mask[..., None])
    right = seen.cpu() + (1.0 - alpha.cpu())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, contact_sheet(torch.stack([left, right, 1.0 - (left - right).abs()]), 3))
