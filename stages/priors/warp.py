"""Carrying the pixels of one picture to where they are in every frame (forward warping, "splatting").

A picture of a body on a plain background is cut from it by colour; each of its pixels moves by its own displacement and
is spread over the four pixels it lands between. Where several land they are averaged, where none does the background
shows. Depth is not known: a limb that passes in front of the body is mixed with it.
"""

from __future__ import annotations

import torch
from torch import Tensor

CUT = (0.02, 0.08)
"""Distance from the background's colour (largest channel) at which a pixel begins to move, and moves whole."""

COVER = 2.0
"""How many pixels one pixel covers once it has landed: a limb stretched by half shows no holes."""


def carry(picture: Tensor, flow: Tensor) -> Tensor:
    """How ``picture`` [B, 3, H, W] changes when its pixels move by ``flow`` [B, T, 2, H, W] (x, y; pixels).

    Returns the carried pictures less the one carried nowhere, [B, T, 3, H, W]: exactly zero for a flow of zero.
    """
    border = torch.cat([picture[..., 0, :], picture[..., -1, :], picture[..., :, 0], picture[..., :, -1]], dim=-1)
    body = picture - border.median(dim=-1).values[..., None, None]
    whole = ((body.abs().amax(dim=1, keepdim=True) - CUT[0]) / (CUT[1] - CUT[0])).clamp(0.0, 1.0)  # [B, 1, H, W]
    here = torch.cat([whole * body, whole], dim=1)
    return _composited(splat(here, flow)) - _composited(here[:, None])


def _composited(landed: Tensor) -> Tensor:
    """Mean colour of what landed times how much of the pixel it covers: [B, T, 4, H, W] to [B, T, 3, H, W]."""
    colour, share = landed[:, :, :3], landed[:, :, 3:]
    return colour / share.clamp(min=1e-4) * (COVER * share).clamp(max=1.0)


def splat(values: Tensor, flow: Tensor) -> Tensor:
    """Sum of ``values`` [B, K, H, W] carried along ``flow`` [B, T, 2, H, W] with bilinear weights: [B, T, K, H, W].

    What leaves the picture is lost.
    """
    batch, channels, height, width = values.shape
    frames = flow.shape[1]
    rows, columns = torch.meshgrid(
        torch.arange(height, device=flow.device), torch.arange(width, device=flow.device), indexing="ij"
    )
    x, y = columns + flow[:, :, 0], rows + flow[:, :, 1]  # [B, T, H, W]
    left, top = x.detach().floor(), y.detach().floor()
    image = torch.arange(batch * frames, device=flow.device).view(batch, frames, 1, 1) * (height * width)
    sources = values.permute(1, 0, 2, 3)[:, :, None].expand(-1, -1, frames, -1, -1)  # [K, B, T, H, W]
    total = values.new_zeros(channels, batch * frames * height * width)
    for dx in (0, 1):
        for dy in (0, 1):
            column, row = left + dx, top + dy
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            share = (1.0 - (x - column).abs()) * (1.0 - (y - row).abs()) * inside
            index = image + row.long().clamp(0, height - 1) * width + column.long().clamp(0, width - 1)
            total = total.index_add(1, index.flatten(), (share * sources).flatten(1))
    return total.view(channels, batch, frames, height, width).permute(1, 2, 0, 3, 4)
