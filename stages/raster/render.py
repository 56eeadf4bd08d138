"""From an asset and cameras to images, with any backend."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stages.cameras import Camera
from stages.gaussians import Frames, Gaussians
from stages.gaussians.sh import eval_sh, sh0_to_rgb
from stages.geometry.rotations import quaternion_matrices
from stages.raster.interface import Rasterizer, Rendered


def render(
    frames: Frames | Gaussians,
    cameras: Sequence[Camera],
    rasterizer: Rasterizer,
    *,
    background: Tensor | None = None,  # [3] or [T, H, W, 3]
) -> Rendered:
    """T images, one a camera, of as many frames; of an asset at rest every image shows just that.

    Colours turn with their neighbourhood: the direction of view is taken into the frame in which the asset was
    captured. No gradient goes through the direction of view.
    """
    if isinstance(frames, Gaussians):
        frames = Frames.at_rest(frames, len(cameras))
    assert frames.num_frames == len(cameras), "one camera a frame"
    viewmats = torch.stack([camera.viewmat for camera in cameras]).to(frames.means)
    Ks = torch.stack([camera.K for camera in cameras]).to(frames.means)
    return rasterizer(
        frames.means,
        frames.quats,
        frames.scales,
        frames.opacities,
        _colors(frames, viewmats),
        viewmats,
        Ks,
        cameras[0].width,
        cameras[0].height,
        background,
    )


def render_flow(
    gaussians: Gaussians,
    camera: Camera,
    rasterizer: Rasterizer,
    means: Tensor,  # [T, N, 3] where the Gaussians are in each frame
) -> tuple[Tensor, Tensor]:
    """Pixel flow from rest: how far each pixel of the asset at rest has gone in each frame, [T, H, W, 2] as (x, y) in
    pixels, premultiplied by the alpha of the asset at rest, which comes with it, [T, H, W, 1]. Differentiable with
    respect to ``means``."""
    moves = camera.project(means) - camera.project(gaussians.means)
    return _painted(Frames.at_rest(gaussians, means.shape[0]), camera, rasterizer, moves)


def render_steps(frames: Frames, camera: Camera, rasterizer: Rasterizer) -> tuple[Tensor, Tensor]:
    """Pixel flow from frame to frame: how far each pixel goes until the next, [T - 1, H, W, 2], and the alpha, likewise
    premultiplied."""
    pixels = camera.project(frames.means)
    return _painted(frames.select(slice(0, -1)), camera, rasterizer, pixels[1:] - pixels[:-1])


def _painted(frames: Frames, camera: Camera, rasterizer: Rasterizer, values: Tensor) -> tuple[Tensor, Tensor]:
    """Images of ``values`` [T, N, 2] in place of colours, and their alpha."""
    count = frames.num_frames
    rendered = rasterizer(
        frames.means,
        frames.quats,
        frames.scales,
        frames.asset.opacities,
        torch.nn.functional.pad(values, (0, 1)),
        camera.viewmat.expand(count, -1, -1).to(values),
        camera.K.expand(count, -1, -1).to(values),
        camera.width,
        camera.height,
    )
    return rendered.rgb[..., :2], rendered.alpha


def _colors(frames: Frames, viewmats: Tensor) -> Tensor:
    """RGB as seen from each camera, [T, N, 3]; [N, 3] when it does not depend on the view."""
    asset = frames.asset
    if asset.sh_degree == 0:
        return sh0_to_rgb(asset.sh[:, 0]).clamp(min=0.0)
    positions = -(viewmats[:, :3, :3].mT @ viewmats[:, :3, 3:])[..., 0]  # [T, 3]
    directions = torch.nn.functional.normalize(frames.means.detach() - positions[:, None], dim=-1)
    R_moved_rest = quaternion_matrices(frames.rotations.detach())
    return eval_sh(asset.sh, (R_moved_rest.mT @ directions[..., None])[..., 0])
