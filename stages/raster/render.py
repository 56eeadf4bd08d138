"""From an asset and cameras to images, with any backend."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stages.cameras import Camera
from stages.gaussians import Gaussians
from stages.gaussians.sh import eval_sh, sh0_to_rgb
from stages.raster.interface import Rasterizer, Rendered
from stages.rotations import quaternion_matrices


def render(
    gaussians: Gaussians,
    cameras: Sequence[Camera],
    rasterizer: Rasterizer,
    *,
    means: Tensor | None = None,  # [T, N, 3] where the Gaussians are in each frame
    quats: Tensor | None = None,  # [T, N, 4] how they are turned
    background: Tensor | None = None,  # [3]
) -> Rendered:
    """T frames, one a camera; without ``means`` and ``quats`` every frame shows the asset at rest.

    Colours turn with their Gaussian: the direction of view is taken into the frame in which the asset was captured.
    No gradient goes through the direction of view into means or quats.
    """
    frames = len(cameras)
    moved_means = gaussians.means.expand(frames, -1, -1) if means is None else means
    moved_quats = gaussians.quats.expand(frames, -1, -1) if quats is None else quats
    viewmats = torch.stack([camera.viewmat for camera in cameras]).to(moved_means)
    Ks = torch.stack([camera.K for camera in cameras]).to(moved_means)
    return rasterizer(
        moved_means,
        moved_quats,
        gaussians.scales,
        gaussians.opacities,
        _colors(gaussians, viewmats, moved_means.detach(), None if quats is None else quats.detach()),
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
    """How far each pixel of the asset at rest has gone in each frame: [T, H, W, 2] as (x, y) in pixels, premultiplied
    by the alpha of the asset at rest, which comes with it, [T, H, W, 1]. Differentiable with respect to ``means``."""
    frames = means.shape[0]
    moves = camera.project(means) - camera.project(gaussians.means)
    rendered = rasterizer(
        gaussians.means.expand(frames, -1, -1),
        gaussians.quats.expand(frames, -1, -1),
        gaussians.scales,
        gaussians.opacities,
        torch.nn.functional.pad(moves, (0, 1)),
        camera.viewmat.expand(frames, -1, -1).to(means),
        camera.K.expand(frames, -1, -1).to(means),
        camera.width,
        camera.height,
    )
    return rendered.rgb[..., :2], rendered.alpha


def _colors(gaussians: Gaussians, viewmats: Tensor, means: Tensor, quats: Tensor | None) -> Tensor:
    """RGB as seen from each camera, [T, N, 3]; [N, 3] when it does not depend on the view."""
    if gaussians.sh_degree == 0:
        return sh0_to_rgb(gaussians.sh[:, 0]).clamp(min=0.0)
    positions = -(viewmats[:, :3, :3].mT @ viewmats[:, :3, 3:])[..., 0]  # [T, 3]
    directions = torch.nn.functional.normalize(means - positions[:, None], dim=-1)
    if quats is not None:
        R_world_moved, R_world_rest = quaternion_matrices(quats), quaternion_matrices(gaussians.quats)
        directions = (R_world_rest @ (R_world_moved.mT @ directions[..., None]))[..., 0]
    return eval_sh(gaussians.sh, directions)
