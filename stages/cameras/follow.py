"""Cameras that go along with a body: its path is smoothed, so that the picture does not shake with every step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from stages.cameras.camera import Camera


def smooth_path(path: Tensor, deviation: float, *, closed: bool = False) -> Tensor:
    """``path`` [T, D] blurred over time by a Gaussian of ``deviation`` frames; detached.

    Beyond its ends an open path goes on point-mirrored, so that a straight one stays as it is, to its ends; a
    ``closed`` one begins again: frame T is frame 0.
    """
    path = path.detach()
    num_frames = len(path)
    if num_frames < 2 or deviation <= 0.0:
        return path
    half = min(math.ceil(3.0 * deviation), num_frames - 1)
    frames = torch.arange(-half, num_frames + half, device=path.device)
    if closed:
        longer = path[frames % num_frames]
    else:
        within = frames.clamp(0, num_frames - 1)
        longer = 2.0 * path[within] - path[2 * within - frames]
    offsets = torch.arange(-half, half + 1).to(path)
    kernel = torch.exp(-0.5 * (offsets / deviation) ** 2)
    kernel = kernel / kernel.sum()
    return torch.einsum("tdk,k->td", longer.unfold(0, len(kernel), 1), kernel)


def follow(cameras: Sequence[Camera], shifts: Tensor) -> list[Camera]:
    """``cameras``, each shifted by its row of ``shifts`` [T, 3] in the world; they turn as before."""
    assert shifts.shape == (len(cameras), 3)
    followed = []
    for camera, shift in zip(cameras, shifts, strict=True):
        viewmat = camera.viewmat.clone()
        viewmat[:3, 3] -= viewmat[:3, :3] @ shift.to(viewmat)
        followed.append(replace(camera, viewmat=viewmat))
    return followed
