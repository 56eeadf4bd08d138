"""Where the surface that a camera sees at rest goes in its video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.cameras import Camera
from stages.gaussians import Gaussians
from stages.gaussians.sh import sh0_to_rgb
from stages.guides import Guide
from stages.guides.pixel_flow import from_first
from stages.raster import Rasterizer, render

SEEN = 0.3
"""Of a Gaussian's own light: from this share that reaches the camera it counts as seen in full. [ours]"""

DOUBT, ROUNDS = 0.01, 5
"""Of ``agreed``. [ours]"""


@dataclass(frozen=True)
class Tracks:
    """Of every Gaussian, where its centre should be seen in each frame, and how far that can be trusted."""

    camera: Camera
    targets: Tensor  # [T, N, 2] pixels
    weights: Tensor  # [T, N] 0 where nothing is known
    pixel_size: Tensor  # [N] of one pixel at the Gaussian's distance, world units

    def of(self, indices: Tensor) -> Tracks:
        """Those of the Gaussians ``indices`` alone."""
        return Tracks(self.camera, self.targets[:, indices], self.weights[:, indices], self.pixel_size[indices])

    def pixels(self, means: Tensor) -> Tensor:
        """Where ``means`` [T, N, 3] are seen, [T, N, 2]; differentiable."""
        return self.camera.project(means)


@torch.no_grad()
def estimated_tracks(asset: Gaussians, guide: Guide, rasterizer: Rasterizer) -> Tracks:
    """Tracks from the pixel flow that is estimated from the asset at rest to every frame of ``guide``.

    It need not begin at rest: a render of the asset leads to the frame that is most like it, and from there forwards
    and backwards.
    """
    still = render(asset, [guide.camera], rasterizer, background=guide.background)
    rest = replace(guide, rgb=still.rgb.to(guide.rgb), mask=still.alpha[..., 0].to(guide.mask))
    nearest = 0 if guide.starts_at_rest else most_like(rest, guide)
    later, earlier = torch.arange(nearest, len(guide.times)), torch.arange(nearest, -1, -1)
    flow, confidence = _from_rest(rest, guide, later)
    if nearest:
        before, sure = (part.flip(0)[:-1] for part in _from_rest(rest, guide, earlier))
        flow, confidence = torch.cat([before, flow]), torch.cat([sure, confidence])
    return tracks_of(asset, guide.camera, flow, confidence, rasterizer)


def most_like(rest: Guide, guide: Guide) -> int:
    """The number of the frame of ``guide`` that looks most as ``rest``, which has a single one."""
    colours = (guide.rgb - rest.rgb).abs().mean(dim=-1)
    return int((colours + (guide.mask - rest.mask).abs()).mean(dim=(1, 2)).argmin())


def _from_rest(rest: Guide, guide: Guide, order: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel flow from ``rest`` through the frames of ``guide`` in this ``order``, and its confidence."""
    through = replace(
        guide, rgb=torch.cat([rest.rgb, guide.rgb[order]]), mask=torch.cat([rest.mask, guide.mask[order]])
    )
    flow, confidence = from_first(through)
    return flow[1:], confidence[1:]


@torch.no_grad()
def tracks_of(asset: Gaussians, camera: Camera, flow: Tensor, confidence: Tensor, rasterizer: Rasterizer) -> Tracks:
    """Tracks from ``flow`` [T, H, W, 2], how far each pixel of the asset at rest has gone in each frame, and how sure
    that is, ``confidence`` [T, H, W] in [0, 1]."""
    pixels = camera.project(asset.means)  # [N, 2]
    size = torch.tensor([camera.width, camera.height]).to(pixels)
    grid = (2.0 * pixels / size - 1.0)[None, None].expand(len(flow), -1, -1, -1)

    def sampled(images: Tensor) -> Tensor:
        found = F.grid_sample(images.movedim(-1, 1).to(pixels), grid, align_corners=False, padding_mode="border")
        return found[:, :, 0].movedim(1, -1)  # [T, N, C]

    targets = pixels + sampled(flow)
    sure = sampled(confidence[..., None])[..., 0]
    depth = asset.means @ camera.viewmat[2, :3].to(asset.means) + camera.viewmat[2, 3]
    inside = ((pixels > 0) & (pixels < size)).all(dim=-1) & (depth > 0)
    weights = sure * (visibility(asset, camera, rasterizer) * inside)
    return Tracks(camera, targets, weights, depth / float(camera.K[0, 0]))


def visibility(asset: Gaussians, camera: Camera, rasterizer: Rasterizer) -> Tensor:
    """How far each Gaussian is seen by ``camera``, [N] in [0, 1]: the light that reaches the camera of what it would
    send there alone, which is the derivative of the picture with respect to its colour."""
    views, Ks = camera.viewmat[None].to(asset.means), camera.K[None].to(asset.means)

    def light(opacities: Tensor, colours: Tensor) -> Tensor:
        means, quats, scales = asset.means[None], asset.quats[None], asset.scales[None]
        return rasterizer(means, quats, scales, opacities, colours, views, Ks, camera.width, camera.height).rgb

    with torch.enable_grad():
        colours = sh0_to_rgb(asset.sh[:, 0]).clamp(0.0, 1.0)[None].clone().requires_grad_()
        reached = torch.autograd.grad(light(asset.opacities, colours)[..., 0].sum(), colours)[0][0, :, 0]
    footprint = 2.0 * torch.pi * _area(asset, camera) * asset.opacities
    return (reached / (SEEN * footprint).clamp(min=1e-6)).clamp(max=1.0)


def _area(asset: Gaussians, camera: Camera) -> Tensor:
    """Of each Gaussian as it is seen, [N]: the product of its two deviations in pixels, at least a pixel's."""
    depth = (asset.means @ camera.viewmat[2, :3].to(asset.means) + camera.viewmat[2, 3]).clamp(min=1e-6)
    widest = asset.scales.sort(dim=-1, descending=True).values[:, :2] * float(camera.K[0, 0]) / depth[:, None]
    return (widest.square() + 0.3).sqrt().prod(dim=-1)


def agreement(rest: Tensor, tracks: Sequence[Tracks]) -> float | None:
    """How well one movement in space explains what several cameras see of the same Gaussians: 1 minus the share of the
    tracks' movement, in squared world units, that the best one leaves. None where no two cameras see the same."""
    if len(tracks) < 2:
        return None
    seen = [Seen.of(rest, one) for one in tracks]
    twice = _seen_twice(seen)
    moved = sum(float((one.weights * twice * one.moves.square().sum(dim=-1)).sum()) for one in seen)
    left = sum(float((one.weights * twice * away**2).sum()) for one, away in zip(seen, _apart(seen), strict=True))
    return 1.0 - left / max(moved, 1e-12) if twice.any() else None


def agreed(rest: Tensor, tracks: Sequence[Tracks], size: float) -> list[Tracks]:
    """``tracks``, each weighed by how far it agrees with the others: one that is ``DOUBT`` of the asset's ``size`` away
    from the best movement in space counts half. What a single camera sees counts as before.

    The movement is found again with the new weights a few times, so that of three cameras two prevail.
    """
    seen = [Seen.of(rest, one) for one in tracks]
    twice = _seen_twice(seen)
    for _ in range(ROUNDS):
        trust = [torch.where(twice, 1.0 / (1.0 + (away / (DOUBT * size)) ** 2), 1.0) for away in _apart(seen)]
        seen = [replace(one, weights=t.weights * share) for one, t, share in zip(seen, tracks, trust, strict=True)]
    return [replace(t, weights=one.weights) for t, one in zip(tracks, seen, strict=True)]


@dataclass(frozen=True)
class Seen:
    """What one camera says of the movement of every Gaussian, in world units: ``directions`` of it are ``moves``."""

    directions: Tensor  # [N, 2, 3]
    moves: Tensor  # [T, N, 2]
    weights: Tensor  # [T, N]

    @staticmethod
    def of(rest: Tensor, tracks: Tracks) -> Seen:
        """By projections, linear about ``rest`` [N, 3]."""
        directions = _jacobian(tracks.camera, rest) * tracks.pixel_size[:, None, None]
        return Seen(
            directions, (tracks.targets - tracks.camera.project(rest)) * tracks.pixel_size[:, None], tracks.weights
        )


def _seen_twice(seen: Sequence[Seen]) -> Tensor:
    """Which Gaussians two cameras or more see, [T, N]."""
    return torch.stack([one.weights > 0.1 for one in seen]).sum(dim=0) >= 2


def triangulated(seen: Sequence[Seen]) -> Tensor:
    """The movement [T, N, 3] in space that explains best what cameras see: weighted least squares."""
    normal = 1e-4 * torch.eye(3).to(seen[0].moves) + sum(
        torch.einsum("tn,nai,naj->tnij", one.weights, one.directions, one.directions) for one in seen
    )
    right = sum(torch.einsum("tn,nai,tna->tni", one.weights, one.directions, one.moves) for one in seen)
    best: Tensor = torch.linalg.solve(normal, right)
    return best


def _apart(seen: Sequence[Seen]) -> list[Tensor]:
    """How far what each camera sees is from the best movement, [T, N] in world units."""
    best = triangulated(seen)
    return [(torch.einsum("nai,tni->tna", one.directions, best) - one.moves).norm(dim=-1) for one in seen]


def _jacobian(camera: Camera, points: Tensor) -> Tensor:
    """Derivative [N, 2, 3] of the pixels of ``points`` [N, 3] with respect to them."""
    viewmat, K = camera.viewmat.to(points), camera.K.to(points)
    seen = points @ viewmat[:3, :3].T + viewmat[:3, 3]
    x, y, z = seen.unbind(dim=-1)
    zero = torch.zeros_like(x)
    across = torch.stack([K[0, 0] / z, zero, -K[0, 0] * x / z**2], dim=-1)
    down = torch.stack([zero, K[1, 1] / z, -K[1, 1] * y / z**2], dim=-1)
    return torch.stack([across, down], dim=1) @ viewmat[:3, :3]
