"""The CUDA backend: gsplat, the only place that imports it."""

from __future__ import annotations

import torch
from gsplat import rasterization
from torch import Tensor

from stages.errors import NotAvailable, first_line
from stages.raster.interface import Rendered
from stages.raster.rules import LOW_PASS_PX2, NEAR


def load_kernels() -> None:
    """Load gsplat's kernels, which compiles them once where its wheel has none.

    Raises:
        NotAvailable: they cannot be had on this machine.
    """
    try:
        from gsplat.cuda._backend import _C
    except Exception as error:  # of the compiler, the linker, ninja
        reason = first_line(error)
    else:
        if _C is not None:
            return
        reason = "no CUDA toolkit (nvcc) to compile them with"
    raise NotAvailable(
        f"gsplat's kernels cannot be loaded: {reason}.",
        "They need the CUDA toolkit (nvcc, CUDA_HOME); --raster cpu works without. See: animus3d doctor",
    )


def try_out(device: torch.device) -> None:
    """Draw one Gaussian.

    Raises:
        NotAvailable: the kernels are there and do not run on this card, as those of a wheel for other cards.
    """
    means, quats, scales, opacities, colors, viewmats, Ks = (
        torch.tensor([[[0.0, 0.0, 2.0]]]),
        torch.tensor([[[1.0, 0.0, 0.0, 0.0]]]),
        torch.full((1, 3), 0.1),
        torch.ones(1),
        torch.ones(1, 3),
        torch.eye(4)[None],
        torch.tensor([[[8.0, 0.0, 4.0], [0.0, 8.0, 4.0], [0.0, 0.0, 1.0]]]),
    )
    try:
        means, quats, scales, opacities = (part.to(device) for part in (means, quats, scales, opacities))
        colors, viewmats, Ks = (part.to(device) for part in (colors, viewmats, Ks))
        drawn = rasterize(means, quats, scales, opacities, colors, viewmats, Ks, 8, 8)
        drawn.rgb.sum().item()  # waits for the card, whose errors come late
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # of the compiler, the driver, CUDA
        raise NotAvailable(
            f"gsplat's kernels do not run on this card: {first_line(error)}.",
            "Have them compiled here: see animus3d doctor; --raster cpu works without.",
        ) from None


def rasterize(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    background: Tensor | None = None,
) -> Rendered:
    """See ``stages.raster.interface.Rasterizer``. Every frame is one batch entry of gsplat with one camera."""
    frames = means.shape[0]
    colors = colors.expand(frames, -1, -1) if colors.dim() == 2 else colors
    rgb, alpha, _ = rasterization(
        means,
        quats,
        scales.expand(frames, -1, -1) if scales.dim() == 2 else scales,
        opacities.expand(frames, -1),
        colors[:, None],
        viewmats[:, None],
        Ks[:, None],
        width,
        height,
        near_plane=NEAR,
        eps2d=LOW_PASS_PX2,
        packed=False,
        rasterize_mode="classic",
    )
    rgb, alpha = rgb[:, 0], alpha[:, 0]
    if background is not None:  # gsplat's own takes one colour a camera only
        rgb = rgb + (1.0 - alpha) * background
    return Rendered(rgb=rgb, alpha=alpha)
