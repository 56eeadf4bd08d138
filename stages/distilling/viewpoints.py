"""The fixed set of viewpoints that an optimisation draws from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.cameras import sample_orbit_cameras
from stages.conventions import step_generator
from stages.events import Caution, Note, Report
from stages.gaussians import Frames, Gaussians
from stages.motion.interface import Motion
from stages.priors.points import PointView, sees_points
from stages.priors.prior import ClipShape, Prior, Viewpoint, pictures, predicts_pixel_flow
from stages.raster import Rasterizer
from stages.raster.ground import Ground, ground_layer
from stages.settings import check


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """From where an asset is seen."""

    num_cameras: int = 8
    background: float = 1.0  # grey value behind the asset
    ground: bool = False  # a checkerboard, with the shadow of the asset at rest

    def __post_init__(self) -> None:
        check(self, num_cameras=1, background=0)


def look_at(
    prior: Prior,
    asset: Gaussians,
    config: ViewsConfig,
    rasterizer: Rasterizer,
    *,
    prompt: str,
    facing_deg: float,
    seed: int,
    stream: int = 1,
) -> list[Viewpoint]:
    """How ``prior`` sees ``asset`` while it is to do as ``prompt`` says: through cameras, or as points of a body that
    faces ``facing_deg`` (0: +z, 90: +x)."""
    cameras = sample_viewpoints(asset, prior.clip, config, rasterizer, seed=seed, stream=stream)
    if not sees_points(prior):
        return cameras
    cyclic = prior.verb_of(prompt).cyclic
    return [prior.look_at(asset, cameras[0], cyclic=cyclic, facing_deg=facing_deg, seed=seed)]


def is_loop(viewpoints: Sequence[Viewpoint]) -> bool:
    """Whether what is seen from ``viewpoints`` is to be a loop."""
    return any(isinstance(viewpoint, PointView) and viewpoint.cyclic for viewpoint in viewpoints)


def sample_viewpoints(
    asset: Gaussians, clip: ClipShape, config: ViewsConfig, rasterizer: Rasterizer, *, seed: int, stream: int = 1
) -> list[Viewpoint]:
    """Viewpoints around ``asset``, on its device, for pictures of the size of ``clip``; the same for the same seed and
    stream (``step_generator``).

    With a ground, one picture of it, under the asset at rest, is behind every frame and behind the asset at rest: so it
    never counts as a difference between the two. [ours; in AKD the shadow moves too]
    """
    low, high = asset.bounds()
    cameras = sample_orbit_cameras(
        config.num_cameras,
        low=low,
        high=high,
        width=clip.width,
        height=clip.height,
        generator=step_generator(seed, 0, stream=stream),
    )
    device = asset.means.device
    background = torch.full((3,), config.background, device=device)
    if not config.ground:
        return [Viewpoint(camera.to(device), background, rasterizer) for camera in cameras]
    ground = Ground.under(asset)
    layers = ground_layer(Frames.at_rest(asset, len(cameras)), cameras, ground, background)
    return [
        Viewpoint(camera.to(device), layer, rasterizer, ground_height=ground.height)
        for camera, layer in zip(cameras, layers, strict=True)
    ]


def tell_of_ground(prior: Prior, config: ViewsConfig, report: Report) -> None:
    """Say what a ground is to a prior that does not know it."""
    if config.ground and sees_points(prior):
        report(
            Note(
                "A prior that sees points sees no ground. Previews show it, and the bones of a skeleton stay above it."
            )
        )
    elif config.ground and predicts_pixel_flow(prior):
        report(Caution(f"The prior {prior.name!r} was taught on plain backgrounds: over a ground it may move wrongly."))


@torch.no_grad()
def film(asset: Gaussians, motion: Motion, times: Tensor, viewpoint: Viewpoint) -> Tensor:
    """The moving asset [T', H, W, 3] at ``times`` [T'] from one viewpoint."""
    return pictures(motion.at(asset, times), viewpoint)
