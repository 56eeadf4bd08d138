"""Pictures prepared for feature networks: resized, cut to a square, normalised, a few at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BATCH = 16
"""Batch size of a network: bounds memory."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def to_unit(images: Tensor) -> Tensor:
    """uint8 [..., M, H, W, 3] as float [..., M, 3, H, W] in [0, 1]."""
    return images.movedim(-1, -3).float() / 255.0


def resize(images: Tensor, size: int, mode: str, *, antialias: bool) -> Tensor:
    """[M, 3, H, W] with its shorter side at ``size``, cut to the square in its middle."""
    height, width = images.shape[-2:]
    scale = size / min(height, width)
    shape = (max(size, round(scale * height)), max(size, round(scale * width)))
    if shape != (height, width):
        images = torch.nn.functional.interpolate(images, shape, mode=mode, align_corners=False, antialias=antialias)
    top, left = (shape[0] - size) // 2, (shape[1] - size) // 2
    return images[..., top : top + size, left : left + size]


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(x - mean) / std for each channel of [M, 3, H, W]."""
    return (images - images.new_tensor(mean)[:, None, None]) / images.new_tensor(std)[:, None, None]


@torch.no_grad()
def in_batches(network: Callable[[Tensor], Tensor], images: Tensor, device: str) -> Tensor:
    """Features [..., D], on the CPU, of uint8 ``images`` [..., H, W, 3] by ``network``, [B, 3, H, W] in [0, 1] ->
    [B, D]."""
    flat = images.reshape(-1, *images.shape[-3:])
    features = [network(to_unit(part.to(device))).float().cpu() for part in flat.split(BATCH)]
    return torch.cat(features).reshape(*images.shape[:-3], -1)
