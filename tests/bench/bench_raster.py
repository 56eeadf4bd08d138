"""Rasterizer backends, forward and backward: ``python -m tests.bench.bench_raster``.

Prints one JSON object as its last line: ``ms`` per backend and size (median of several runs, one thread) and
``max_rel_error`` of the CPU backend's images and gradients against the float64 reference.
"""

from __future__ import annotations

import resource
import time
from statistics import median
from typing import Any

import torch
from torch import Tensor

from stages.cameras import orbit_camera
from stages.raster import choose, torch_reference
from stages.raster.interface import Rasterizer
from tests.bench.record import finish
from tests.raster.scenes import KINDS, image_and_gradients, relative_error, scene

SIZES = {
    "1k_64px": (1000, 64, 1),
    "10k_128px": (10_000, 128, 1),
    "4k_64px_16frames": (4000, 64, 16),
    "10k_128px_16frames": (10_000, 128, 16),
}
REPEATS = 5


def main() -> None:
    """Measure what this machine can run."""
    torch.set_num_threads(1)
    backends = {"cpu": ("cpu", SIZES), "reference": ("cpu", {"1k_64px": SIZES["1k_64px"]})}
    if torch.cuda.is_available():
        backends["gsplat"] = ("cuda", SIZES)
    ms: dict[str, dict[str, float]] = {}
    for name, (device, sizes) in backends.items():
        ms[name] = {}
        for size, (count, pixels, frames) in sizes.items():
            ms[name][size] = round(_milliseconds(choose(device, name), device, count, pixels, frames), 2)
            print(f"{name:10s} {size:20s} {ms[name][size]:9.2f} ms forward + backward", flush=True)
    finish(
        "raster",
        {
            "ms": ms,
            "reference_over_cpu_1k_64px": round(ms["reference"]["1k_64px"] / ms["cpu"]["1k_64px"], 1),
            "max_rel_error": max(_error(kind) for kind in KINDS),
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        },
    )


def _error(kind: str) -> float:
    arguments = {key: value.float().double() for key, value in scene(kind).items()}
    truth = image_and_gradients(torch_reference.rasterize, arguments, torch.float64)
    mine = image_and_gradients(choose("cpu", "cpu"), arguments, torch.float32)
    return max(relative_error(mine[key], truth[key]) for key in truth)


def _milliseconds(rasterize: Rasterizer, device: str, count: int, pixels: int, frames: int) -> float:
    arguments = _shell(count, pixels, frames, device)

    def once() -> None:
        out = rasterize(**arguments, width=pixels, height=pixels, background=torch.ones(3, device=device))
        out.rgb.sum().backward()
        if device == "cuda":
            torch.cuda.synchronize()

    once()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        once()
        times.append(1000.0 * (time.perf_counter() - began))
    return median(times)


def _shell(count: int, pixels: int, frames: int, device: str) -> dict[str, Any]:
    """Gaussians on a sphere that fills the image, as dense as an asset's."""
    generator = torch.Generator().manual_seed(0)
    means = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    camera = orbit_camera(azimuth_deg=20.0, elevation_deg=10.0, radius=3.6, fov_deg=35.0, width=pixels, height=pixels)

    def leaf(tensor: Tensor) -> Tensor:
        return tensor.to(device).detach().clone().requires_grad_()

    return {
        "means": leaf(means.expand(frames, -1, -1)),
        "quats": leaf(torch.randn(frames, count, 4, generator=generator)),
        "scales": leaf(torch.full((count, 3), 2.0 / count**0.5)),
        "opacities": leaf(torch.full((count,), 0.9)),
        "colors": leaf(torch.rand(count, 3, generator=generator)),
        "viewmats": camera.viewmat.expand(frames, 4, 4).to(device),
        "Ks": camera.K.expand(frames, 3, 3).to(device),
    }


if __name__ == "__main__":
    main()
