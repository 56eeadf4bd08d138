"""From a video file to a guide: read, put into the camera's picture, cut out, look for faults.

1. Read the frames, and keep as many as are asked for, evenly over the time of the video.
2. Find which part of the camera's picture they show, and make them small enough.
3. Remove the background: by their transparency, by masks that are given, else by its colour.
4. Say what makes it a bad guide.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from stages.cameras import Camera
from stages.errors import BadInput
from stages.events import Caution, Note, Report
from stages.gaussians import Gaussians
from stages.guides.aspect import SAME, fit_aspect, scaled
from stages.guides.bars import NO_BARS, Bars, find_bars
from stages.guides.cutout import Cutout, cut_out
from stages.guides.faults import find_faults
from stages.guides.guide import Guide
from stages.media.rgba import Video, read_rgba
from stages.raster import Rasterizer, render

READ_FACTOR = 2
"""Frames are read this many times as large as they are needed, and made smaller after they were cut to shape."""

AT_REST = 0.7
"""Overlap of the first frame's silhouette with the still's from which the asset is taken to be at rest there. [ours]"""

WHITE = (1.0, 1.0, 1.0)


def read_guide(
    source: Path,
    camera: Camera,
    *,
    report: Report,
    still: Tensor | None = None,
    mask_dir: Path | None = None,
    num_frames: int | None = None,
    max_size_px: int = 256,
    bars: Bars = NO_BARS,
) -> Guide:
    """The guide that the video ``source`` is.

    Args:
        camera: of the picture that the video was made from.
        still: [h, w, 4] that picture, see ``still_of``: with it a video of another shape can be understood, and it is
            seen whether the video begins with the asset at rest.
        mask_dir: a picture for each frame of the video, white where the object is.
        num_frames: keep this many at most, the nearest ones to evenly spread moments; None: all.
        max_size_px: of the longer side; the camera goes along.
        bars: left out before anything else, as of ``read_first``; ``camera`` is of the picture between them.

    Raises:
        BadInput: the video cannot be read, has another shape than the camera's picture, has no plain background, or is
            cut.
    """
    if max_size_px < 16 or (num_frames is not None and num_frames < 2):
        raise BadInput(f"A guide needs 2 frames and 16 pixels, not {num_frames} and {max_size_px}.")
    video, size = read_rgba(source, READ_FACTOR * max_size_px)
    if len(video.times) < 2:
        raise BadInput(f"{source} has a single frame.", "Give a video.")
    masks = None if mask_dir is None else _read_masks(mask_dir, video)
    video, masks = _between(bars, video, masks)
    kept = spread(video.times, num_frames)
    numbers = kept.tolist()
    if len(numbers) < len(video.times):
        report(Note(f"{source}: {len(numbers)} of its {len(video.times)} frames are used."))
    first = video.rgba[0].float() / 255.0
    picture = None if still is None else over(still, torch.tensor(WHITE) if video.has_alpha else _usual_colour(first))
    first = over(first, torch.tensor(WHITE))
    fit = fit_aspect(first, camera, picture, size)
    if fit.said:
        report(Note(fit.said))
    scale = min(1.0, max_size_px / max(fit.camera.width, fit.camera.height))
    small = scaled(fit.camera, max(1, round(scale * fit.camera.width)), max(1, round(scale * fit.camera.height)))
    rgba = smaller(video.rgba[kept][:, fit.rows, fit.columns], (small.height, small.width))
    if masks is not None:
        masks = smaller(masks[kept][:, fit.rows, fit.columns, None], (small.height, small.width))[..., 0]
    cutout, behind = _without_background(rgba, masks, report)
    guide = Guide(
        camera=small,
        rgb=cutout.rgb,
        mask=cutout.mask,
        times=video.times[kept],
        background=cutout.background,
        starts_at_rest=_begins_at_rest(cutout.mask[0], camera, small, still, report),
        seconds=video.seconds,
    )
    find_faults(guide, behind, numbers, report)
    return guide


def read_first(
    source: Path, *, report: Report, mask_dir: Path | None = None, max_size_px: int = 256
) -> tuple[Cutout, Bars]:
    """The first frame of the video ``source`` by itself, T = 1: what ``find_camera`` looks at. And the bars around it,
    which are told and left out.

    Args:
        mask_dir: as of ``read_guide``.
        max_size_px: of the longer side.

    Raises:
        BadInput: the video cannot be read, or has no plain background.
    """
    video, _ = read_rgba(source, READ_FACTOR * max_size_px)
    masks = None if mask_dir is None else _read_masks(mask_dir, video)
    bars = NO_BARS if video.has_alpha else find_bars(video.rgba[..., :3])
    if bars:
        report(Note(f"{source} has bars, which are left out: {bars.said()}."))
        video, masks = _between(bars, video, masks)
    height, width = video.rgba.shape[1:3]
    scale = min(1.0, max_size_px / max(height, width))
    size = max(1, round(scale * height)), max(1, round(scale * width))
    first = smaller(video.rgba[:1], size)
    given = None if masks is None else smaller(masks[:1, ..., None], size)[..., 0]
    return _without_background(first, given, report)[0], bars


def _between(bars: Bars, video: Video, masks: Tensor | None) -> tuple[Video, Tensor | None]:
    """What is between the bars of a video, and of its masks [T, H, W]."""
    rows, columns = bars.inner(*video.rgba.shape[1:3])
    return replace(video, rgba=video.rgba[:, rows, columns]), None if masks is None else masks[:, rows, columns]


@torch.no_grad()
def still_of(asset: Gaussians, camera: Camera, rasterizer: Rasterizer) -> Tensor:
    """What ``camera`` sees of the ``asset`` at rest, [H, W, 4], straight alpha, on the CPU."""
    image = render(asset, [camera.to(asset.means.device)], rasterizer)
    color = (image.rgb[0] / image.alpha[0].clamp(min=1e-6)).clamp(0.0, 1.0)
    return torch.cat([color, image.alpha[0]], dim=-1).cpu()


def spread(times: Tensor, num_frames: int | None) -> Tensor:
    """Indices of those of ``times`` [T], rising from 0 to 1, that are nearest to ``num_frames`` even moments; all of
    them where there are no more."""
    if num_frames is None or num_frames >= len(times):
        return torch.arange(len(times))
    moments = torch.linspace(0.0, 1.0, num_frames)
    return (times[None] - moments[:, None]).abs().argmin(dim=1).unique()


def over(rgba: Tensor, colour: Tensor) -> Tensor:
    """``rgba`` [..., 4], straight alpha, over ``colour`` [3]."""
    return rgba[..., :3] * rgba[..., 3:] + colour * (1.0 - rgba[..., 3:])


def smaller(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bytes ``images`` [T, H, W, C] in another ``size`` (height, width), in [0, 1], one after the other: large ones
    take memory. With four channels, colours count by their alpha."""
    made = []
    for image in images:
        image = image.float() / 255.0
        if image.shape[:2] != size:
            alpha = image[..., 3:] if image.shape[-1] == 4 else torch.ones(1)
            weighed = torch.cat([image[..., :3] * alpha, image[..., 3:]], dim=-1)
            image = torch.nn.functional.interpolate(
                weighed.permute(2, 0, 1)[None], size=size, mode="bilinear", antialias=True, align_corners=False
            )[0].permute(1, 2, 0)
            if image.shape[-1] == 4:
                image = torch.cat([image[..., :3] / image[..., 3:].clamp(min=1e-6), image[..., 3:]], dim=-1)
        made.append(image.clamp(0.0, 1.0))
    return torch.stack(made)


def _usual_colour(rgba: Tensor) -> Tensor:
    """Colour [3] beside the object of a frame [H, W, 4]: that of most of it, bars or not."""
    pixels = (rgba[..., :3].reshape(-1, 3) * 31.0).round()
    values, counts = pixels.unique(dim=0, return_counts=True)
    return values[counts.argmax()] / 31.0


def _read_masks(folder: Path, video: Video) -> Tensor:
    """Bytes [T, H, W], of the size of the video's frames."""
    found, _ = read_rgba(folder)
    if len(found.times) != len(video.times):
        raise BadInput(
            f"{folder} has {len(found.times)} masks, the video {len(video.times)} frames.", "Give one for each frame."
        )
    size = tuple(video.rgba.shape[1:3])
    if abs(found.rgba.shape[1] * size[1] / (found.rgba.shape[2] * size[0]) - 1.0) > SAME:
        raise BadInput(f"The masks in {folder} have another shape than the video.", "Make them as large as its frames.")
    masks = found.rgba[..., 3] if found.has_alpha else found.rgba[..., :3].float().mean(dim=-1)
    if masks.shape[1:] != size:
        masks = torch.nn.functional.interpolate(masks[:, None].float(), size=size, mode="bilinear", antialias=True)[
            :, 0
        ]
    return masks.round().to(torch.uint8)


def _without_background(rgba: Tensor, masks: Tensor | None, report: Report) -> tuple[Cutout, Tensor]:
    """The object by itself, and the frames [T, H, W, 3] with what is behind it in the video."""
    white = torch.tensor(WHITE)
    if masks is not None:
        return Cutout(over(torch.cat([rgba[..., :3], masks[..., None]], dim=-1), white), masks, white), rgba[..., :3]
    if float(rgba[..., 3].min()) < 0.5:
        report(Note("The background is transparent in the video itself."))
        cutout = Cutout(over(rgba, white), rgba[..., 3], white)
        return cutout, cutout.rgb
    return cut_out(rgba[..., :3].contiguous()), rgba[..., :3]


def _begins_at_rest(mask: Tensor, camera: Camera, small: Camera, still: Tensor | None, report: Report) -> bool:
    """Whether the first frame's silhouette [H, W] is that of the asset at rest; said where it is not."""
    if still is None:
        return True
    y, x = torch.meshgrid(torch.arange(small.height) + 0.5, torch.arange(small.width) + 0.5, indexing="ij")
    x = (x - small.K[0, 2]) / small.K[0, 0] * camera.K[0, 0] + camera.K[0, 2]
    y = (y - small.K[1, 2]) / small.K[1, 1] * camera.K[1, 1] + camera.K[1, 2]
    grid = torch.stack([2.0 * x / camera.width - 1.0, 2.0 * y / camera.height - 1.0], dim=-1)
    rest = torch.nn.functional.grid_sample(still[None, None, ..., 3], grid[None], align_corners=False)[0, 0]
    overlap = float(torch.minimum(rest, mask).sum() / torch.maximum(rest, mask).sum().clamp(min=1e-6))
    if overlap < AT_REST:
        report(
            Caution(
                f"The first frame does not show the asset as it stands (their outlines overlap by {overlap:.0%}): if "
                "the camera is another, give --camera auto."
            )
        )
    return overlap >= AT_REST
