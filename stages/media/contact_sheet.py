"""Many frames on one picture."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from stages.files import replacing


def contact_sheet(frames: Tensor, columns: int) -> Tensor:
    """Frames [T, H, W, 3] row by row, ``columns`` a row, on white: [rows H, columns W, 3]."""
    count, height, width = frames.shape[:3]
    rows = -(-count // columns)
    sheet = torch.ones(rows * columns, height, width, 3)
    sheet[:count] = frames.detach().cpu().float()
    return sheet.reshape(rows, columns, height, width, 3).permute(0, 2, 1, 3, 4).reshape(rows * height, -1, 3)


def to_bytes(images: Tensor) -> Tensor:
    """Images in [0, 1] as uint8."""
    return (images.detach().cpu().float().clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)


def write_png(path: Path, image: Tensor) -> None:
    """Write one image [H, W, 3 or 4] in [0, 1]; replaced in one piece."""
    with replacing(path) as temporary:
        Image.fromarray(to_bytes(image).numpy()).save(temporary, format="PNG")
