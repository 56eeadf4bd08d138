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
    _, explained, counted = triangulated(rest, tracks)
    return None if counted == 0.0 else explained


def triangulated(rest: Tensor, tracks: Sequence[Tracks]) -> tuple[Tensor, float, float]:
    """The displacements [T, N, 3] of ``rest`` [N, 3] that explain all tracks best (weighted least squares of the
    linearised projections), the share of movement that they explain, and the weight of what was seen twice."""
    rows, values, weights = [], [], []
    for one in tracks:
        jacobian = _jacobian(one.camera, rest)  # [N, 2, 3]
        rows.append(jacobian * one.pixel_size[:, None, None])
        values.append((one.targets - one.camera.project(rest)) * one.pixel_size[:, None])
        weights.append(one.weights)
    A, b, w = torch.stack(rows), torch.stack(values), torch.stack(weights)  # [V, N, 2, 3], [V, T, N, 2], [V, T, N]
    normal = torch.einsum("vtn,vnai,vnaj->tnij", w, A, A) + 1e-4 * torch.eye(3).to(A)
    right = torch.einsum("vtn,vnai,vtna->tni", w, A, b)
    moves = torch.linalg.solve(normal, right)
    left = (torch.einsum("vnai,tni->vtna", A, moves) - b).square().sum(dim=-1)
    twice = ((w > 0.1).sum(dim=0) >= 2).to(w)
    moved = (w * twice * b.square().sum(dim=-1)).sum()
    explained = 1.0 - (w * twice * left).sum() / moved.clamp(min=1e-12)
    return moves, float(explained), float((w * twice).sum())


def _jacobian(camera: Camera, points: Tensor) -> Tensor:
    """Derivative [N, 2, 3] of the pixels of ``points`` [N, 3] with respect to them."""
    viewmat, K = camera.viewmat.to(points), camera.K.to(points)
    seen = points @ viewmat[:3, :3].T + viewmat[:3, 3]
    x, y, z = seen.unbind(dim=-1)
    zero = torch.zeros_like(x)
    across = torch.stack([K[0, 0] / z, zero, -K[0, 0] * x / z**2], dim=-1)
    down = torch.stack([zero, K[1, 1] / z, -K[1, 1] * y / z**2], dim=-1)
    return torch.stack([across, down], dim=1) @ viewmat[:3, :3]
