"""Networks that come as TorchScript: I3D for FVD, RAFT for flow, AMT for frames between frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stages.errors import BadInput, first_line
from stages.metrics.pixels import resize, to_unit
from stages.metrics.weights import load_script

I3D_PX = 224
I3D_FRAMES = 10
"""I3D halves the number of frames several times; with fewer frames none would be left."""

RAFT_PX = 128
"""RAFT's coarsest level has nothing to correlate in smaller pictures; sides are multiples of 8."""


class I3D:
    """Features of videos (Carreira and Zisserman 2017): what the archive that FVD code shares gives for
    ``(videos, rescale=False, resize=False, return_features=True)``."""

    def __init__(self, path: Path, device: str) -> None:
        self._network, self._path, self._device = load_script(path, device, "an I3D"), path, device
        self.backbone = f"I3D, {path.name}"

    @torch.no_grad()
    def videos(self, videos: Tensor) -> Tensor:
        """Features [M, D] of uint8 [M, T, H, W, 3], at least 10 frames: bilinear to 224 px, in [-1, 1]."""
        if videos.shape[1] < I3D_FRAMES:
            raise BadInput(f"I3D needs {I3D_FRAMES} frames, not {videos.shape[1]}.", "Use --set frames=16.")
        features = []
        for video in videos:
            frames = resize(to_unit(video.to(self._device)), I3D_PX, "bilinear", antialias=False)
            batch = (2.0 * frames - 1.0).movedim(1, 0)[None]  # [1, 3, T, H, W]
            features.append(
                _call(self._path, lambda: self._network(batch, rescale=False, resize=False, return_features=True))  # noqa: B023
            )
        return torch.cat(features).flatten(1).float().cpu()


class Raft:
    """Flow between frames (Teed and Deng 2020), by torchvision's ``raft_large``: ``(first, second)``, [B, 3, H, W] in
    [-1, 1], gives one flow [B, 2, H, W] an iteration."""

    def __init__(self, path: Path, device: str) -> None:
        self._network, self._path, self._device = load_script(path, device, "a RAFT"), path, device
        self.backbone = f"RAFT, {path.name}"

    @torch.no_grad()
    def flow(self, frames: Tensor) -> Tensor:
        """Flow [T - 1, H, W, 2], in pixels, between uint8 ``frames`` [T, H, W, 3], at least 128 px a side."""
        height, width = frames.shape[1:3]
        if min(height, width) < RAFT_PX or height % 8 or width % 8:
            raise BadInput(f"RAFT needs sides of {RAFT_PX} px or more, in eights, not {height}.", "Use --set size=256.")
        pictures = 2.0 * to_unit(frames.to(self._device)) - 1.0
        steps = []
        for first, second in zip(pictures[:-1].split(4), pictures[1:].split(4), strict=True):
            found = _call(self._path, lambda: self._network(first, second))  # noqa: B023
            steps.append(found[-1] if isinstance(found, (list, tuple)) else found)
        return torch.cat(steps).movedim(1, -1).float().cpu()


class Amt:
    """The frame between two frames, by any network with ``(first, second)`` [B, 3, H, W] in [0, 1] -> the same."""

    def __init__(self, path: Path, device: str) -> None:
        self._network, self._path, self._device = load_script(path, device, "an AMT"), path, device
        self.backbone = f"AMT, {path.name}"

    @torch.no_grad()
    def between(self, frames: Tensor) -> Tensor:
        """[T - 1, H, W, 3] in [0, 1] between uint8 ``frames`` [T, H, W, 3]."""
        pictures = to_unit(frames.to(self._device))
        found = [
            _call(self._path, lambda: self._network(first, second))  # noqa: B023
            for first, second in zip(pictures[:-1].split(4), pictures[1:].split(4), strict=True)
        ]
        return torch.cat(found).movedim(1, -1).clamp(0.0, 1.0).cpu()


def _call(path: Path, call: Callable[[], Any]) -> Any:
    """The result of a script; ``BadInput`` in one line where its inputs or outputs do not fit."""
    try:
        return call()
    except (RuntimeError, TypeError) as error:
        raise BadInput(
            f"{path} does not take what is asked of it: {first_line(error)}.", "Name another file."
        ) from None
