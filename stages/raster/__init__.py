"""Rasterizers: one interface, three backends, one function that chooses."""

from __future__ import annotations

from typing import Any

import torch

from stages.errors import BadInput, NotAvailable
from stages.raster.interface import Rasterizer, Rendered
from stages.raster.render import render, render_flow

BACKENDS = ("reference", "cpu", "gsplat")

__all__ = ["BACKENDS", "Rasterizer", "Rendered", "choose", "render", "render_flow"]


def choose(device: torch.device | str, name: str | None = None) -> Rasterizer:
    """The backend called ``name``; when None, gsplat on a CUDA device and the numba kernels on a CPU.

    Raises:
        BadInput: no such backend.
        NotAvailable: gsplat without a CUDA device (it composites nothing without one), or without its kernels.
    """
    on_cuda = torch.device(device).type == "cuda"
    name = name or ("gsplat" if on_cuda else "cpu")
    module: Any
    if name == "reference":
        from stages.raster import torch_reference as module
    elif name == "cpu":
        from stages.raster import cpu as module
    elif name == "gsplat":
        if not on_cuda or not torch.cuda.is_available():
            raise NotAvailable("The gsplat rasterizer needs a CUDA device.", "Use --raster cpu, or --device cuda.")
        from stages.raster import gsplat_cuda as module

        module.load_kernels()
    else:
        raise BadInput(f"There is no rasterizer {name!r}.", f"Choose one of: {', '.join(BACKENDS)}.")
    return module.rasterize
