"""Small random scenes that visit the corners of the compositing rules."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.cameras import fitting_radius, orbit_camera
from stages.gaussians import Frames
from stages.gaussians.sh import sh0_to_rgb
from stages.zoo.clips import rigged_clip
from stages.zoo.rigs import find_rig

SIZE = (24, 20)


def scene(kind: str, frames: int = 2, count: int = 60, seed: int = 0) -> dict[str, Tensor]:
    """Arguments of a rasterizer, float64: "soft", "needles", "behind" the camera, "opaque", or "tiny"."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    scales = torch.exp(0.3 * normal(count, 3) - 1.8)
    opacities = torch.sigmoid(normal(count))
    means = 0.6 * normal(frames, count, 3)
    if kind == "needles":
        scales = scales * torch.tensor([8.0, 0.02, 0.02], dtype=torch.float64)
    if kind == "behind":
        means = means * 4.0
    if kind == "opaque":
        opacities = torch.full_like(opacities, 0.9995)
    if kind == "tiny":
        scales = scales * 0.01
    cameras = [
        orbit_camera(azimuth_deg=40.0 * t, elevation_deg=20.0, radius=3.0, fov_deg=45.0, width=SIZE[0], height=SIZE[1])
        for t in range(frames)
    ]
    return {
        "means": means,
        "quats": normal(frames, count, 4),
        "scales": scales,
        "opacities": opacities,
        "colors": torch.rand((frames, count, 3), generator=generator, dtype=torch.float64),
        "viewmats": torch.stack([camera.viewmat for camera in cameras]).double(),
        "Ks": torch.stack([camera.K for camera in cameras]).double(),
    }


KINDS = ("soft", "needles", "behind", "opaque", "tiny")
DIFFERENTIABLE = ("means", "quats", "scales", "opacities", "colors")
BACKGROUND = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)


def moving_body(num_gaussians: int, frame_indices: tuple[int, ...], side_px: int) -> dict[str, Tensor]:
    """Arguments of a rasterizer, float64, but representable in float32: a deer of ``assets/rigged`` in its jump, each
    Gaussian turned and stretched as its neighbourhood is; the scales are [T, N, 3], and every frame has its camera."""
    rig = find_rig("Deer.glb")
    clip = rigged_clip(rig, "jump", 16, num_gaussians, torch.Generator().manual_seed(0))
    frames = Frames(clip.asset, clip.means).select(torch.tensor(frame_indices))  # turns are derived, not the skin's
    low, high = frames.means.amin(dim=(0, 1)), frames.means.amax(dim=(0, 1))
    radius = fitting_radius(low, high, 45.0)
    cameras = [
        orbit_camera(
            azimuth_deg=70.0 + 25.0 * t, elevation_deg=15.0, radius=radius, fov_deg=45.0, width=side_px,
            height=side_px, target=0.5 * (low + high),
        )
        for t in range(frames.num_frames)
    ]  # fmt: skip
    arguments = {
        "means": frames.means,
        "quats": frames.quats,
        "scales": frames.scales,
        "opacities": frames.asset.opacities,
        "colors": sh0_to_rgb(frames.asset.sh[:, 0]).clamp(min=0.0),
        "viewmats": torch.stack([camera.viewmat for camera in cameras]),
        "Ks": torch.stack([camera.K for camera in cameras]),
    }
    return {name: value.float().double() for name, value in arguments.items()}


def picture_behind(arguments: dict[str, Tensor], side_px: int) -> Tensor:
    """A background [T, H, W, 3] that differs from pixel to pixel and from frame to frame."""
    shape = (arguments["means"].shape[0], side_px, side_px, 3)
    return torch.rand(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def relative_error(value: Tensor, truth: Tensor) -> float:
    """Largest difference over the largest true value."""
    return float((value.double() - truth.double()).abs().max() / truth.double().abs().max().clamp(min=1e-12))


def image_and_gradients(  # type: ignore[no-untyped-def]
    rasterize,
    arguments: dict[str, Tensor],
    dtype: torch.dtype,
    size: tuple[int, int] = SIZE,
    background: Tensor = BACKGROUND,
) -> dict[str, Tensor]:
    """Image, alpha and the gradients of a fixed random functional of both; ``size`` is width and height."""
    tensors = {key: value.to(dtype) for key, value in arguments.items()}
    for key in DIFFERENTIABLE:
        tensors[key] = tensors[key].detach().requires_grad_()
    out = rasterize(**tensors, width=size[0], height=size[1], background=background.to(tensors["means"]))
    generator = torch.Generator().manual_seed(9)

    def weights(image: Tensor) -> Tensor:
        return torch.randn(image.shape, generator=generator, dtype=torch.float64).to(image)

    functional = (out.rgb * weights(out.rgb)).sum() + (out.alpha * weights(out.alpha)).sum()
    functional.backward()
    gradients = {key: tensors[key].grad for key in DIFFERENTIABLE}
    return {"rgb": out.rgb.detach(), "alpha": out.alpha.detach(), **gradients}  # type: ignore[dict-item]
