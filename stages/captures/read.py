"""From a path to a ``Capture``, and from its views to pictures in memory."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageChops

from stages.cameras import Camera
from stages.captures.capture import Capture, Photo, PhotoView
from stages.captures.files import find_mask
from stages.errors import BadInput, first_line
from stages.events import Note, Report, silent
from stages.gaussians.formats.sog import is_sog

MAX_PIXELS = 100_000_000
"""A photo of more is refused before it is decoded: 400 MB."""
MAX_BYTES = 4 * 1024**3
"""All photos together, as they are kept for training."""
ROUNDED = 1.5
"""Pixels by which the height of a reduced photo may be off what its width says."""


def is_capture(path: Path) -> bool:
    """Whether ``path`` is meant as posed photos: a folder, or a ``.json`` file, that is no splat (SOG)."""
    return (path.is_dir() or path.suffix.lower() == ".json") and not is_sog(path)


def read_capture(path: Path, report: Report = silent) -> Capture:
    """The capture in a folder or described by a ``transforms.json``; pictures are only looked for, not decoded.

    ``report`` is told what is read otherwise than the files say: masks, photos that were reduced, lenses.

    Raises:
        BadInput: there is none, or its cameras cannot be used, or a picture is missing or not of the shape they say.
    """
    from stages.captures.colmap import model_folder, read_colmap
    from stages.captures.transforms import find_transforms, read_transforms

    if not path.exists():
        raise BadInput(f"There is no file {path}.", "Check the path.")
    files = find_transforms(path) if path.is_dir() else [path]
    model = None if files else model_folder(path)
    if files:
        capture = read_transforms(files, report)
    elif model is not None:
        capture = read_colmap(path, model)
    else:
        raise BadInput(
            f"{path} holds neither transforms.json nor a COLMAP model (sparse/0 with cameras, images, points3D).",
            "Give a folder of photos with known cameras, a .ply splat, or a mesh.",
        )
    views = [_fitted(replace(view, mask=view.mask or find_mask(view.path))) for view in capture.views]
    _tell(capture.views, views, report)
    return replace(capture, views=tuple(views))


def _tell(named: Sequence[PhotoView], views: Sequence[PhotoView], report: Report) -> None:
    """Say what was found of masks, sizes and lenses."""
    masks = [view.mask for view in views if view.mask is not None]
    if masks:
        report(Note(f"{len(masks)} of {len(views)} photos have masks in {masks[0].parent}: white is the thing."))
    other = [
        (old.camera, new.camera) for old, new in zip(named, views, strict=True) if old.camera.width != new.camera.width
    ]
    if other:
        (old, new), folder = other[0], views[0].path.parent
        report(
            Note(
                f"The photos in {folder} are {new.width}x{new.height}, their cameras {old.width}x{old.height}: the "
                "cameras are scaled."
            )
        )
    if bent := [view.lens for view in views if view.lens is not None]:
        kind = "a fisheye" if bent[0].fisheye else "a lens with distortion"
        report(Note(f"{len(bent)} photos were taken through {kind} and are straightened."))


def read_photos(capture: Capture, size_px: int) -> list[Photo]:
    """Every photo, reduced to at most ``size_px`` on its longer side, with its camera.

    Raises:
        BadInput: a photo is missing, damaged, or not of the shape its camera says; or all together are too large.
    """
    sizes = [_reduced(view.camera, size_px) for view in capture.views]
    total = sum(4 * width * height for width, height in sizes)
    if total > MAX_BYTES:
        raise BadInput(
            f"{len(sizes)} photos at {size_px} px take {total / 1024**3:.1f} GiB; at most 4 can be used.",
            "Use fewer photos, or a smaller --set size_px=N.",
        )
    return [_read_photo(view, size) for view, size in zip(capture.views, sizes, strict=True)]


def scaled(camera: Camera, width: int, height: int) -> Camera:
    """The same camera with a picture of another size."""
    scale = torch.tensor([width / camera.width, height / camera.height, 1.0])
    return replace(camera, K=camera.K * scale[:, None], width=width, height=height)


def _reduced(camera: Camera, size_px: int) -> tuple[int, int]:
    factor = min(1.0, size_px / max(camera.width, camera.height))
    return max(1, round(camera.width * factor)), max(1, round(camera.height * factor))


def _picture_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture, which is not decoded. Raises ``BadInput``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is our own
            with Image.open(path) as picture:
                width, height = picture.size
    except FileNotFoundError:
        raise BadInput(f"There is no picture {path}, which a camera names.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInput(f"{path} is not a picture that can be read: {first_line(error)}.") from None
    if width * height > MAX_PIXELS:
        raise BadInput(f"{path} has {width}x{height} pixels; at most {MAX_PIXELS:,} can be used.")
    return width, height


def _fitted(view: PhotoView) -> PhotoView:
    """The view with its camera at the size of its picture, which may have been reduced. Raises ``BadInput`` where it
    has another shape."""
    width, height = _picture_size(view.path)
    camera = view.camera
    if (width, height) == (camera.width, camera.height):
        return view
    if abs(height - camera.height * width / camera.width) > ROUNDED:
        raise BadInput(
            f"{view.path} has {width}x{height} pixels, its camera {camera.width}x{camera.height}.",
            "Give the photos at the size the cameras were made for, or reduced.",
        )
    lens = None if view.lens is None else view.lens.scaled(width / camera.width, height / camera.height)
    return replace(view, camera=scaled(camera, width, height), lens=lens)


def _read_photo(view: PhotoView, size: tuple[int, int]) -> Photo:
    if _picture_size(view.path) != (view.camera.width, view.camera.height):
        raise BadInput(f"{view.path} has changed its size since it was looked at.", "Run the command again.")
    try:
        with Image.open(view.path) as picture:
            rgba = picture.convert("RGBA")
        if view.mask is not None:
            rgba.putalpha(ImageChops.multiply(rgba.getchannel("A"), _read_mask(view.mask, rgba.size)))
    except (OSError, ValueError, SyntaxError) as error:
        raise BadInput(f"{view.path} is damaged: {first_line(error)}.") from None
    if size != rgba.size or view.lens is not None:
        # premultiplied, so that the colour of transparent pixels does not leak into the edge
        rgba = rgba.convert("RGBa")
        if view.lens is not None:
            straight = view.lens.straightened(np.array(rgba), view.camera.K)
            rgba = Image.frombytes("RGBa", rgba.size, straight.tobytes())
        rgba = rgba.resize(size, Image.Resampling.BOX).convert("RGBA")
    return Photo(
        name=view.path.name,
        camera=scaled(view.camera, *size),
        rgba=torch.from_numpy(np.array(rgba)),
    )


def _read_mask(path: Path, size: tuple[int, int]) -> Image.Image:
    """A mask as one channel of ``size``: 255 where the thing is. It may hold 0 and 1, or its alpha may be the mask."""
    _picture_size(path)
    try:
        with Image.open(path) as picture:
            picture.load()
            alpha = picture.getchannel("A") if "A" in picture.getbands() else None
            partly = alpha is not None and alpha.getextrema() != (255, 255)
            mask = np.asarray(alpha if partly else picture.convert("I" if picture.mode.startswith("I") else "L"))
    except (OSError, ValueError, SyntaxError) as error:
        raise BadInput(f"{path} is damaged: {first_line(error)}.") from None
    full = 1 if mask.max(initial=0) <= 1 else 255 if mask.max(initial=0) <= 255 else 65535
    scaled_mask = (mask.astype(np.float64) * (255.0 / full)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(scaled_mask).resize(size, Image.Resampling.BOX)
