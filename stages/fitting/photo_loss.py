"""How far renders of Gaussians are from photos: the loss of a fit, and the measures of views that were held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stages.cameras import Camera
from stages.captures import Photo
from stages.captures.read import scaled
from stages.gaussians import Gaussians
from stages.metrics.image import psnr, ssim, structural_similarity
from stages.raster import Rasterizer, render

SSIM_WINDOW = 11
"""Pictures smaller than this have no SSIM."""


@dataclass(frozen=True, kw_only=True)
class PhotoLoss:
    """What a batch of photos asks of Gaussians.

    L1 and SSIM as Kerbl et al. 2023, Eq. 7; opacities and scales drawn to zero as by Kheradmand et al. 2024, Eq. 10.
    """

    rasterizer: Rasterizer
    masked: bool  # the photos' alpha tells the thing from what is behind it
    extent: float  # of the scene, world units
    ssim_weight: float
    opacity_weight: float
    scale_weight: float

    def __call__(
        self, gaussians: Gaussians, batch: Sequence[Photo], factor: int, background: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Loss of a batch reduced by ``factor``, and its mean squared error; masked photos and renders are composited
        over ``background`` [3]: a new one each step makes the alpha learnt too."""
        losses, errors = [], []
        targets = [target_of(photo, factor, self.masked, gaussians.means.device) for photo in batch]
        for cameras, truths in _same_size(targets):
            images = render(gaussians, cameras, self.rasterizer, background=background).rgb
            for image, rgba in zip(images, truths, strict=True):
                truth = before(rgba, background)
                losses.append(self._of_image(image, truth))
                errors.append((image.detach() - truth).square().mean())
        penalty = self.opacity_weight * gaussians.opacities.mean()
        penalty = penalty + self.scale_weight * gaussians.scales.mean() / self.extent
        return torch.stack(losses).mean() + penalty, torch.stack(errors).mean()

    def _of_image(self, image: Tensor, truth: Tensor) -> Tensor:
        loss = (image - truth).abs().mean()
        if min(image.shape[:2]) < SSIM_WINDOW:
            return loss
        return (1.0 - self.ssim_weight) * loss + self.ssim_weight * (1.0 - structural_similarity(image, truth))


def target_of(photo: Photo, factor: int, masked: bool, device: torch.device) -> tuple[Camera, Tensor]:
    """The camera and premultiplied RGBA [H, W, 4] of a photo reduced by ``factor``; opaque where not ``masked``."""
    width, height = max(1, photo.camera.width // factor), max(1, photo.camera.height // factor)
    rgba = photo.rgba.to(device).float() / 255.0
    alpha = rgba[..., 3:] if masked else torch.ones_like(rgba[..., 3:])
    rgba = torch.cat([rgba[..., :3] * alpha, alpha], dim=-1)
    if factor > 1:
        rgba = nn.functional.interpolate(rgba.permute(2, 0, 1)[None], (height, width), mode="area")[0].permute(1, 2, 0)
    return scaled(photo.camera, width, height).to(device), rgba


def before(rgba: Tensor, background: Tensor) -> Tensor:
    """Premultiplied RGBA [H, W, 4] before a colour [3], as [H, W, 3]."""
    return rgba[..., :3] + (1.0 - rgba[..., 3:]) * background


def _same_size(targets: list[tuple[Camera, Tensor]]) -> list[tuple[list[Camera], list[Tensor]]]:
    """Views of one size together, which the rasterizer renders at once."""
    groups: dict[tuple[int, int], tuple[list[Camera], list[Tensor]]] = {}
    for camera, rgba in targets:
        cameras, truths = groups.setdefault((camera.width, camera.height), ([], []))
        cameras.append(camera)
        truths.append(rgba)
    return list(groups.values())


@torch.no_grad()
def compare(
    gaussians: Gaussians, photos: Sequence[Photo], masked: bool, rasterizer: Rasterizer
) -> list[tuple[Tensor, Tensor]]:
    """``(photo, render)`` [H, W, 3] of each view: before white where photos have masks, else before black."""
    device = gaussians.means.device
    background = torch.full((3,), 1.0 if masked else 0.0, device=device)
    pairs = []
    for photo in photos:
        camera, rgba = target_of(photo, 1, masked, device)
        image = render(gaussians, [camera], rasterizer, background=background).rgb[0].clamp(0.0, 1.0)
        pairs.append((before(rgba, background), image))
    return pairs


def measure(gaussians: Gaussians, photos: Sequence[Photo], masked: bool, rasterizer: Rasterizer) -> dict[str, Any]:
    """Mean ``psnr_db`` and ``ssim`` over the views, and those of each in ``views``; None where there are none."""
    views: list[dict[str, Any]] = []
    for photo, (truth, image) in zip(photos, compare(gaussians, photos, masked, rasterizer), strict=True):
        similarity = ssim(image, truth) if min(image.shape[:2]) >= SSIM_WINDOW else None
        views.append({"picture": photo.name, "psnr_db": psnr(image, truth), "ssim": similarity})
    means = {}
    for name in ("psnr_db", "ssim"):
        values = [view[name] for view in views if view[name] is not None]
        means[name] = sum(values) / len(values) if values else None
    return {**means, "background": "white" if masked else "black", "views": views}
