"""Small random scenes that visit the corners of the compositing rules."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.cameras import orbit_camera

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


def relative_error(value: Tensor, truth: Tensor) -> float:
    """Largest difference over the largest true value."""
    return float((value.double() - truth.double()).abs().max() / truth.double().abs().max().clamp(min=1e-12))


def image_and_gradients(rasterize, arguments: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:  # type: ignore[no-untyped-def]
    """Image, alpha and the gradients of a fixed random functional of both."""
    tensors = {key: value.to(dtype) for key, value in arguments.items()}
    for key in DIFFERENTIABLE:
        tensors[key] = tensors[key].detach().requires_grad_()
    out = rasterize(**tensors, width=SIZE[0], height=SIZE[1], background=BACKGROUND.to(tensors["means"]))
    generator = torch.Generator().manual_seed(9)

    def weights(image: Tensor) -> Tensor:
        return torch.randn(image.shape, generator=generator, dtype=torch.float64).to(image)

    functional = (out.rgb * weights(out.rgb)).sum() + (out.alpha * weights(out.alpha)).sum()
    functional.backward()
    gradients = {key: tensors[key].grad for key in DIFFERENTIABLE}
    return {"rgb": out.rgb.detach(), "alpha": out.alpha.detach(), **gradients}  # type: ignore[dict-item]
