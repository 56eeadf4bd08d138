"""The CUDA backend: gsplat, the only place that imports it."""

from __future__ import annotations

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
