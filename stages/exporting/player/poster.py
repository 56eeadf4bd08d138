"""The picture that a page shows before it can draw: the clip's first frame, transparent, as WebP."""

from __future__ import annotations

import io
import math

import torch
from PIL import Image

from stages.cameras import Camera, orbit_camera
from stages.exporting.player.encode import cylinder
from stages.exporting.recording import Recording
from stages.gaussians import Frames
from stages.raster import choose, render
from stages.raster.ground import above_ground

SIDE_PX = 480
QUALITY = 80
AZIMUTH_DEG, ELEVATION_DEG, FOV_DEG = 35.0, 15.0, 35.0
"""Where the page's camera begins."""

TALL, WIDE = 0.75, 0.9
"""What the cylinder around the motion takes at most of the height and of the width."""


def first_camera(frames: Frames, width: int = SIDE_PX, height: int = SIDE_PX) -> Camera:
    """The camera of ``camera.js`` before anybody has turned it."""
    body = cylinder(frames)
    focal = 0.5 * min(width, height) / math.tan(math.radians(0.5 * FOV_DEG))
    tall, wide = TALL * 0.5 * height / focal, WIDE * 0.5 * width / focal
    return orbit_camera(
        azimuth_deg=AZIMUTH_DEG,
        elevation_deg=ELEVATION_DEG,
        radius=max(body["around"] + body["half"] / tall, body["around"] * math.hypot(1.0, 1.0 / wide)),
        fov_deg=FOV_DEG,
        width=width,
        height=height,
        target=torch.tensor(body["centre"]),
    )


@torch.no_grad()
def poster(recording: Recording) -> bytes:
    """A file of the first frame of ``recording``."""
    frames = recording.frames.select(slice(0, 1))
    if recording.ground is not None:
        frames = above_ground(frames, recording.ground.height)
    images = render(frames, [first_camera(recording.frames)], choose("cpu"))
    rgb = (images.rgb[0] / images.alpha[0].clamp(min=1e-6)).clamp(0.0, 1.0)
    pixels = torch.cat([rgb, images.alpha[0].clamp(0.0, 1.0)], dim=-1)
    file = io.BytesIO()
    Image.fromarray((255.0 * pixels).round().byte().numpy(), "RGBA").save(file, "WEBP", quality=QUALITY, method=4)
    return file.getvalue()
