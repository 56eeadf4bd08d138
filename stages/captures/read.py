"""From a path to a ``Capture``, and from its views to pictures in memory."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from stages.cameras import Camera
from stages.captures.capture import Capture, Photo, PhotoView
from stages.errors import BadInput, first_line
from stages.gaussians.formats.sog import is_sog

MAX_PIXELS = 100_000_000
"""A photo of more is refused before it is decoded: 400 MB."""
MAX_BYTES = 4 * 1024**3
"""All photos together, as they are kept for training."""


def is_capture(path: Path) -> bool:
    """Whether ``path`` is meant as posed photos: a folder, or a ``.json`` file, that is no splat (SOG)."""
    return (path.is_dir() or path.suffix.lower() == ".json") and not is_sog(path)


def read_capture(path: Path) -> Capture:
    """The capture in a folder or described by a ``transforms.json``; pictures are only looked for, not decoded.

    Raises:
        BadInput: there is none, or its cameras cannot be used, or a picture is missing or not as large as they say.
    """
    from stages.captures.colmap import model_folder, read_colmap
    from stages.captures.transforms import find_transforms, read_transforms

    if not path.exists():
        raise BadInput(f"There is no file {path}.", "Check the path.")
    files = find_transforms(path) if path.is_dir() else [path]
    model = None if files else model_folder(path)
    if files:
        capture = read_transforms(files)
    elif model is not None:
        capture = read_colmap(path, model)
    else:
        raise BadInput(
            f"{path} holds neither transforms.json nor a COLMAP model (sparse/0 with cameras, images, points3D).",
            "Give a folder of photos with known cameras, a .ply splat, or a mesh.",
        )
    for view in capture.views:
        _header(view)
    return capture


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


def _header(view: PhotoView) -> None:
    """Check that the picture is there and as large as its camera says, without decoding it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is our own
            with Image.open(view.path) as picture:
                width, height = picture.size
    except FileNotFoundError:
        raise BadInput(f"There is no picture {view.path}, which a camera names.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInput(f"{view.path} is not a picture that can be read: {first_line(error)}.") from None
    if width * height > MAX_PIXELS:
        raise BadInput(f"{view.path} has {width}x{height} pixels; at most {MAX_PIXELS:,} can be used.")
    if (width, height) != (view.camera.width, view.camera.height):
        raise BadInput(
            f"{view.path} has {width}x{height} pixels, its camera {view.camera.width}x{view.camera.height}.",
            "Give the photos at the size the cameras were made for.",
        )


def _read_photo(view: PhotoView, size: tuple[int, int]) -> Photo:
    _header(view)
    try:
        with Image.open(view.path) as picture:
            rgba = picture.convert("RGBA")
    except (OSError, ValueError, SyntaxError) as error:
        raise BadInput(f"{view.path} is damaged: {first_line(error)}.") from None
    if size != rgba.size:
        # premultiplied, so that the colour of transparent pixels does not leak into the edge
        rgba = rgba.convert("RGBa").resize(size, Image.Resampling.BOX).convert("RGBA")
    return Photo(
        name=view.path.name,
        camera=scaled(view.camera, *size),
        rgba=torch.from_numpy(np.array(rgba)),
    )
