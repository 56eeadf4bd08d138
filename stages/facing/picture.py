"""A picture of an asset on a ring with an arrow to where it faces, from in front and above."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from stages.cameras import Camera, fitting_radius, orbit_camera
from stages.gaussians import Gaussians
from stages.gaussians.facing import AXES, Facing
from stages.gaussians.normalised import normalised
from stages.priors.facing import turn_about_y
from stages.raster import Rasterizer, render
from stages.raster.backdrop import MOST, WHITE, share_near

SIZE_PX, FINER = 512, 4
"""Side of the picture; what is drawn is drawn so much larger, then reduced."""

FOV_DEG, ASIDE_DEG, ELEVATION_DEG = 30.0, 32.0, 28.0
"""The camera stands beside where the asset faces, and above."""

LABEL, MARGIN_PX = 1.62, 24
"""How far from the middle the name of its direction stands, in radii of the ring; what stays free around all."""

PAPER, DISC, RING, ARROW, INK = (255, 255, 255), (243, 243, 240), (205, 204, 198), (217, 89, 38), (96, 96, 92)

DIMMED = 0.6
"""How bright the picture is behind a white body."""

Outline = list[tuple[float, float]]


@torch.no_grad()
def draw_facing(asset: Gaussians, facing: Facing, rasterizer: Rasterizer) -> Tensor:
    """The picture [H, W, 3]."""
    body = normalised(asset)
    body = body.select(body.body)
    low, high = body.bounds()
    far = body.means[:, [0, 2]].norm(dim=1)
    reach = 1.12 * float(far.kthvalue(max(1, round(0.999 * len(far)))).values) or 0.1
    ground = float(low[1]) - 0.02 * float((high - low).max())
    tip = LABEL * reach * turn_about_y(facing.used_deg)[:, 2] + torch.tensor([0.0, ground, 0.0])
    ring = reach * torch.tensor([[1.25, 0.0, 0.0], [-1.25, 0.0, 0.0], [0.0, 0.0, 1.25], [0.0, 0.0, -1.25]])
    shown = torch.cat([body.means, tip[None], ring + torch.tensor([0.0, ground, 0.0])])
    camera = orbit_camera(
        azimuth_deg=facing.used_deg + ASIDE_DEG,
        elevation_deg=ELEVATION_DEG,
        radius=fitting_radius(shown.amin(dim=0), shown.amax(dim=0), FOV_DEG),
        fov_deg=FOV_DEG,
        width=SIZE_PX,
        height=SIZE_PX,
        target=0.5 * (shown.amin(dim=0) + shown.amax(dim=0)),
    )
    camera = _framed(camera, shown)
    floor = _floor(camera, facing, reach, ground)
    if share_near(body, WHITE) > MOST:
        floor = DIMMED * floor  # else a white body could hardly be seen
    return render(body, [camera], rasterizer, background=floor[None]).rgb[0].clamp(0.0, 1.0)


def _framed(camera: Camera, points: Tensor) -> Camera:
    """The camera with the middle and the size of its picture such that ``points`` [N, 3] fill it."""
    pixels = camera.project(points)
    low, high = pixels.amin(dim=0), pixels.amax(dim=0)
    zoom = (SIZE_PX - 2.0 * MARGIN_PX) / float((high - low).max().clamp(min=1.0))
    fit = torch.diag(torch.tensor([zoom, zoom, 1.0]))
    fit[:2, 2] = 0.5 * SIZE_PX - zoom * 0.5 * (low + high)
    return replace(camera, K=fit @ camera.K)


def _floor(camera: Camera, facing: Facing, reach: float, ground: float) -> Tensor:
    """What lies under the asset, [H, W, 3]: seen from above, it hides nothing of it."""

    def on_ground(points: Outline) -> Outline:
        world = torch.tensor([[x, ground, z] for x, z in points])
        return [(float(u), float(v)) for u, v in FINER * camera.project(world)]

    def arc(radius: float, start: float = 0.0, end: float = 360.0) -> Outline:
        angles = [math.radians(start + (end - start) * k / 120) for k in range(121)]
        return [(radius * math.sin(a), radius * math.cos(a)) for a in angles]

    picture = Image.new("RGB", (FINER * SIZE_PX, FINER * SIZE_PX), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.polygon(on_ground(arc(reach)), fill=RING)
    draw.polygon(on_ground(arc(0.975 * reach)), fill=DISC)
    font = ImageFont.load_default(size=15 * FINER)
    for name, degrees in AXES.items():
        own = facing.degrees is not None and abs((facing.degrees - degrees + 180.0) % 360.0 - 180.0) < 20.0
        a = math.radians(degrees)
        at = (LABEL if own else 1.16) * reach
        (where,) = on_ground([(at * math.sin(a), at * math.cos(a))])
        draw.text(where, name, fill=ARROW if own else INK, font=font, anchor="mm")
    if facing.degrees is not None:
        left, right = facing.degrees - 24.0, facing.degrees + 24.0
        draw.polygon(on_ground(arc(reach, left, right) + arc(0.93 * reach, right, left)), fill=ARROW)
        draw.polygon(on_ground(_arrow(reach, facing.degrees)), fill=ARROW)
    small = picture.resize((SIZE_PX, SIZE_PX), Image.Resampling.LANCZOS)
    return torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).reshape(SIZE_PX, SIZE_PX, 3).float() / 255.0


def _arrow(reach: float, degrees: float) -> Outline:
    """An arrow that leaves the ring, in (x, z)."""
    outline = [(-0.05, 0.99), (-0.05, 1.2), (-0.14, 1.2), (0.0, 1.45), (0.14, 1.2), (0.05, 1.2), (0.05, 0.99)]
    a = math.radians(degrees)
    return [
        (reach * (across * math.cos(a) + along * math.sin(a)), reach * (along * math.cos(a) - across * math.sin(a)))
        for across, along in outline
    ]
