"""What a prior's sample looks like: as a video, or as the asset itself in motion."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.gaussians import Gaussians
from stages.motion.point_paths import PointPaths, PointPathsConfig
from stages.priors.points import PointsPrior, PointView, sees_points
from stages.priors.prior import Prior, Viewpoint, makes_videos, pictures, sees_views


def sampled_motion(prior: PointsPrior, latents: Tensor, asset: Gaussians, view: PointView) -> PointPaths:
    """The motion of ``asset`` whose points go along the paths that ``latents`` [1, 3 K, N] are."""
    points = asset.means[view.indices]
    motion = PointPaths(PointPathsConfig(num_points=len(points)), points, cyclic=view.cyclic)
    motion.set_paths(prior.paths(latents, view)[0].to(points))
    return motion.to(asset.means.device)


@torch.no_grad()
def film(prior: Prior, latents: Tensor, asset: Gaussians, viewpoint: Viewpoint) -> Tensor:
    """Frames [T, H, W, 3] of ``latents`` that ``prior`` has sampled from ``viewpoint``; several views side by side."""
    if sees_points(prior):
        assert isinstance(viewpoint, PointView)
        frames = sampled_motion(prior, latents, asset, viewpoint).at(asset, prior.frame_times(viewpoint))
        return pictures(frames, viewpoint)
    if sees_views(prior):
        return torch.cat(list(prior.decode_views(latents)), dim=2)
    assert makes_videos(prior)
    return prior.decode(latents)
