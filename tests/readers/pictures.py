"""What programs that need a browser draw, next to what our own rasterizer draws."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
import torch
from PIL import Image

from stages.cameras import Camera, orbit_camera
from stages.gaussians import Frames
from stages.raster import choose, render
from tests.readers.programs import HERE, PACKAGES, NotInstalled, browser

SIDE, FOV = 300, 40.0
AZIMUTH, ELEVATION, RADIUS = 30.0, 20.0, 6.0
TARGET = (0.0, 1.1, 0.0)
WAIT = 2500
"""Milliseconds until Gaussians are sorted and drawn."""

WEB = "http://readers/"
KINDS = {".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}
GRAPHICS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def camera() -> Camera:
    """The view of all pictures."""
    return orbit_camera(
        azimuth_deg=AZIMUTH, elevation_deg=ELEVATION, radius=RADIUS, fov_deg=FOV, width=SIDE, height=SIDE,
        target=torch.tensor(TARGET),
    )  # fmt: skip


def show(behind: bool = False) -> dict[str, Any]:
    """The same for a page; from the other side where a program has the asset face away."""
    side = -1.0 if behind else 1.0
    x, y, z = camera().position.tolist()
    target = [side * TARGET[0], TARGET[1], side * TARGET[2]]
    return {"position": [side * x, y, side * z], "target": target, "fov": FOV, "wait": WAIT}


@contextmanager
def page(name: str, package: str, files: Path) -> Iterator[Any]:
    """``pages/NAME`` in a browser, which has the npm packages and ``files`` as ``/files``, and no network."""
    if not (PACKAGES / package).is_dir():
        raise NotInstalled("run: npm ci --ignore-scripts --prefix tests/readers")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise NotInstalled("run: pip install playwright") from None

    def answer(route: Any) -> None:
        asked = unquote(urlparse(route.request.url).path).lstrip("/")
        folder, _, rest = asked.partition("/")
        path = {"files": files / rest, "node_modules": PACKAGES / rest, "pages": HERE / "pages" / rest}.get(folder)
        if path is None or not path.is_file():
            route.fulfill(status=404)
        else:
            kind = KINDS.get(path.suffix, "application/octet-stream")
            route.fulfill(body=path.read_bytes(), content_type=kind)

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=browser(), args=GRAPHICS)
        try:
            shown = opened.new_page(viewport={"width": SIDE, "height": SIDE})
            shown.set_default_timeout(60_000)
            shown.route("**/*", answer)
            shown.goto(f"{WEB}pages/{name}")
            shown.wait_for_function("window.ready")
            yield shown
        finally:
            opened.close()


def psnr(shown: Any, frames: Frames, index: int) -> float:
    """How near the page's picture is to ours of a frame, on white, in decibels."""
    theirs = np.asarray(Image.open(io.BytesIO(shown.screenshot())).convert("RGB")) / 255.0
    now = frames.select(slice(index, index + 1))
    ours = render(now, [camera()], choose("cpu"), background=torch.ones(3)).rgb[0].clamp(0.0, 1.0).numpy()
    assert (ours < 0.9).any(axis=-1).mean() > 0.05, "there is nothing to see"
    return float(-10.0 * math.log10(((theirs - ours) ** 2).mean()))
