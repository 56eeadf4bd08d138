"""The kernels against their readable twin (``stages.raster.torch_reference``), in values and in gradients.

The body is a deer in its jump, each Gaussian turned and stretched as its neighbourhood is; both sides are given the
same float32 numbers, the twin computes in float64. What is compared: picture, alpha, and the gradients of a fixed
random functional of both with respect to means, quats, scales, opacities and colours. An error is a difference over the
largest true value (``max``), or the mean difference over the mean true value (``mean``).
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from stages.raster import choose
from tests.bench.gpu.parts import Job
from tests.raster.scenes import BACKGROUND, image_and_gradients, moving_body, picture_behind

TOLERANCE = {"cpu": (1e-4, 1e-5), "gsplat": (1e-2, 1e-3)}
"""Backend -> largest error of ``max`` and ``mean``. gsplat computes in float32 throughout: a pixel that lies at the
threshold of alpha (1/255) or transmittance may decide otherwise, which is one colour step of 255. Those of gsplat are
what that makes likely [not yet measured]."""


def kernels(job: Job) -> None:
    """Three scenes: scales per frame before one colour, the same before a picture, and scales shared by all frames.

    Raises:
        RuntimeError: an error is beyond ``TOLERANCE``.
    """
    count, frames, side = (120, (0, 8), 24) if job.tiny else (1500, (0, 6, 11), 96)
    rasterize, reference = choose(job.device, job.backend), choose(job.device, "reference")
    moving = {name: value.to(job.device) for name, value in moving_body(count, frames, side).items()}
    picture, colour = picture_behind(moving, side).to(job.device), BACKGROUND.to(job.device)
    shared = {**moving, "scales": moving["scales"][0]}
    cases = {
        "scales_per_frame_colour_behind": (moving, colour),
        "scales_per_frame_picture_behind": (moving, picture),
        "scales_shared_picture_behind": (shared, picture),
    }
    most, mean = TOLERANCE[job.backend]
    job.keep(
        {"backend": job.backend, "num_gaussians": count, "side_px": side, "tolerance": {"max": most, "mean": mean}}
    )
    compared: dict[str, Any] = {}
    beyond = []
    for name, (arguments, background) in cases.items():
        truth, slow = timed(reference, arguments, torch.float64, side, background)
        timed(rasterize, arguments, torch.float32, side, background)  # the first call loads and chooses kernels
        mine, fast = timed(rasterize, arguments, torch.float32, side, background)
        errors = {key: error_of(mine[key], truth[key]) for key in truth}
        compared[name] = {"errors": errors, "seconds": {"reference": slow, job.backend: fast}}
        job.keep({"compared": compared})
        beyond += [
            f"{name}: {key} {error}"
            for key, error in errors.items()
            if not (error["max"] < most and error["mean"] < mean)  # NaN is beyond
        ]
        worst = max(errors, key=lambda key: errors[key]["max"])
        print(f"  {name}: worst is {worst}, {errors[worst]}", flush=True)
    if beyond:
        raise RuntimeError("; ".join(beyond))


def timed(
    rasterize: Any, arguments: dict[str, Tensor], dtype: torch.dtype, side: int, background: Tensor
) -> tuple[dict[str, Tensor], float]:
    """Values and gradients, and the seconds that they took, there and back."""
    synchronise(arguments)
    began = time.perf_counter()
    found = image_and_gradients(rasterize, arguments, dtype, (side, side), background)
    synchronise(arguments)
    return found, round(time.perf_counter() - began, 4)


def synchronise(arguments: dict[str, Tensor]) -> None:
    """Wait for the card."""
    if arguments["means"].is_cuda:
        torch.cuda.synchronize()


def error_of(value: Tensor, truth: Tensor) -> dict[str, float]:
    """``max`` and ``mean``, see above."""
    apart, size = (value.double() - truth.double()).abs(), truth.double().abs()
    return {
        "max": float(f"{float(apart.max() / size.max().clamp(min=1e-12)):.3g}"),
        "mean": float(f"{float(apart.mean() / size.mean().clamp(min=1e-12)):.3g}"),
    }
