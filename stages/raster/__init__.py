"""Rasterizers: one interface, three backends, one function that chooses."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from stages.errors import BadInput, NotAvailable, first_line
from stages.events import Caution, Report
from stages.raster.interface import Rasterizer, Rendered
from stages.raster.render import render, render_flow

BACKENDS = ("reference", "cpu", "gsplat")

__all__ = ["BACKENDS", "Rasterizer", "Rendered", "choose", "render", "render_flow"]


def choose(device: torch.device | str, name: str | None = None, report: Report | None = None) -> Rasterizer:
    """The backend called ``name``; when None, gsplat on a CUDA device and the numba kernels on a CPU.

    Where nobody asked for gsplat and it does not work on the card, the numba kernels draw: they take tensors of any
    device and give their pictures back there. ``report`` is then told with a ``Caution`` what is wrong.

    Raises:
        BadInput: no such backend.
        NotAvailable: gsplat without a CUDA device (it composites nothing without one), or without its kernels.
    """
    on_cuda = torch.device(device).type == "cuda"
    if name is None and on_cuda:
        try:
            return choose(device, "gsplat")
        except NotAvailable as error:
            if not torch.cuda.is_available():
                raise
            if report is not None:
                report(Caution(f"{error.what} The CPU draws in its place, slowly. What to do: animus3d doctor"))
    name = name or "cpu"
    module: Any
    if name == "reference":
        from stages.raster import torch_reference as module
    elif name == "cpu":
        from stages.raster import cpu as module
    elif name == "gsplat":
        if not on_cuda or not torch.cuda.is_available():
            raise NotAvailable("The gsplat rasterizer needs a CUDA device.", "Use --raster cpu, or --device cuda.")
        found = _gsplat(str(device))
        if isinstance(found, NotAvailable):
            raise found
        return found
    else:
        raise BadInput(f"There is no rasterizer {name!r}.", f"Choose one of: {', '.join(BACKENDS)}.")
    return module.rasterize


@cache
def _gsplat(device: str) -> Rasterizer | NotAvailable:
    """gsplat's rasterizer, which draws on ``device``, or why it does not: found out once, as that may take a compiler
    minutes."""
    try:
        from stages.raster import gsplat_cuda
    except Exception as error:  # it runs code of its own as it is imported: no package, a library that is not there
        return NotAvailable(
            f"gsplat cannot be imported: {first_line(error)}.",
            "Install it again: pip install --force-reinstall --no-deps gsplat; or take --raster cpu.",
        )
    try:
        gsplat_cuda.load_kernels()
        gsplat_cuda.try_out(torch.device(device))
    except NotAvailable as error:
        return error
    return gsplat_cuda.rasterize
