"""A picture of a rig: the asset from three sides in the colours of its bones, the bones drawn over it."""

from __future__ import annotations

import colorsys
from dataclasses import replace

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from stages.cameras import Camera, fitting_radius, orbit_camera
from stages.gaussians import Gaussians
from stages.gaussians.normalised import Placement
from stages.gaussians.sh import C0
from stages.raster import Rasterizer, render
from stages.skeletons.rig import Rig

SIZE_PX, FINER, FOV_DEG = 448, 3, 30.0
SIDES = ((0.0, 8.0), (90.0, 8.0), (35.0, 55.0))
"""Azimuth from where it faces, and elevation: from in front, from its left, from above."""

FADED = 0.55
"""How much of the white is mixed into the colours of the asset, so that bones stand out."""

LINE, DOT, EDGE = (40, 40, 40), (255, 255, 255), (40, 40, 40)


@torch.no_grad()
def draw_rig(asset: Gaussians, rig: Rig, rasterizer: Rasterizer, facing_deg: float = 0.0) -> Tensor:
    """The picture [H, 3 W, 3]; ``asset`` and ``rig`` in the asset's units."""
    placement = Placement.of(asset)
    body, rig = placement.normalised(asset), rig.normalised(placement)
    colors = rig.skin.weights_at(body.means) @ bone_colors(len(rig.joints))
    colors = FADED + (1.0 - FADED) * colors
    painted = replace(body, sh=((colors - 0.5) / C0)[:, None])
    low, high = body.bounds()
    cameras = [
        orbit_camera(
            azimuth_deg=facing_deg + azimuth,
            elevation_deg=elevation,
            radius=fitting_radius(low, high, FOV_DEG),
            fov_deg=FOV_DEG,
            width=SIZE_PX,
            height=SIZE_PX,
            target=0.5 * (low + high),
        )
        for azimuth, elevation in SIDES
    ]
    pictures = [
        _with_bones(render(painted, [camera], rasterizer, background=torch.ones(3)).rgb[0], camera, rig)
        for camera in cameras
    ]
    return torch.cat(pictures, dim=1)


def bone_colors(count: int) -> Tensor:
    """A colour for each of ``count`` bones, [J, 3]: neighbours in the list are far apart in hue."""
    golden = 0.618034
    return torch.tensor([colorsys.hsv_to_rgb((0.08 + golden * joint) % 1.0, 0.85, 0.95) for joint in range(count)])


def _with_bones(rgb: Tensor, camera: Camera, rig: Rig) -> Tensor:
    """Bones over a picture [H, W, 3]: a tapered line from each joint to the end of its bone, a dot at the joint."""
    heads, tails = (FINER * camera.project(points) for points in (rig.joints.heads, rig.joints.tails))
    levels = (255.0 * rgb.clamp(0.0, 1.0)).round().to(torch.uint8).cpu().numpy()
    picture = Image.fromarray(levels).resize((FINER * SIZE_PX, FINER * SIZE_PX), Image.Resampling.LANCZOS)
    draw, width = ImageDraw.Draw(picture), 3.0 * FINER
    for joint, parent in enumerate(rig.joints.parents):
        if parent >= 0:
            draw.line([*tails[parent].tolist(), *heads[joint].tolist()], fill=(150, 150, 150), width=FINER)
    for head, tail in zip(heads, tails, strict=True):
        along = tail - head
        across = torch.stack([-along[1], along[0]]) / along.norm().clamp(min=1e-6) * width
        waist = head + 0.15 * along
        corners = [head, waist + across, tail, waist - across]
        draw.polygon([tuple(corner.tolist()) for corner in corners], fill=LINE)
    for head in heads.tolist():
        radius = 3.0 * FINER
        box = [head[0] - radius, head[1] - radius, head[0] + radius, head[1] + radius]
        draw.ellipse(box, fill=DOT, outline=EDGE, width=FINER)
    small = picture.resize((SIZE_PX, SIZE_PX), Image.Resampling.LANCZOS)
    data = torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8)
    return data.reshape(SIZE_PX, SIZE_PX, 3).float() / 255.0
