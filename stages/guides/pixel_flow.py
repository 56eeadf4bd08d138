"""Pixel flow of a video, estimated: from frame to frame, and from the first frame to every other.

Between neighbouring frames it is OpenCV's DIS (Kroeger, Timofte, Dai and Van Gool 2016, "Fast Optical Flow using Dense
Inverse Search"). From the first frame, each pixel is tracked through the frames. What goes wrong is said by the
forward-backward check of Sundaram, Brox and Keutzer (2010, "Dense Point Trajectories by GPU-accelerated Large
Displacement Optical Flow", Eq. 5): where the backward flow does not lead back, the pixel was hidden or the flow is
wrong, and its track ends there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import cv2
import numpy as np
import torch
from torch import Tensor

from stages.guides.guide import Guide

SMALLEST_PX = 256
"""Shorter sides are enlarged to this before the search: its patches are 8 pixels, and legs of small pictures are
thinner. [ours]"""

RELATIVE, ABSOLUTE = 0.01, 0.5
"""How far, squared, a pixel may miss where it came from: as a share of the flow, and in pixels (Sundaram et al.)."""


@torch.no_grad()
def pixel_flow(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel flow between neighbouring frames of a video ``rgb`` [T, H, W, 3] in [0, 1].

    Returns:
        forward: [T - 1, H, W, 2], how far (x, y), in pixels, each pixel of frame t goes until frame t + 1.
        backward: [T - 1, H, W, 2], how far each pixel of frame t + 1 has come since frame t: the way back.
    """
    assert rgb.ndim == 4 and rgb.shape[-1] == 3, rgb.shape
    num_frames, height, width = rgb.shape[:3]
    scale = max(1, -(-SMALLEST_PX // min(height, width)))
    pictures = [_grey(frame, scale) for frame in rgb]
    forward, backward = torch.zeros(2, max(num_frames - 1, 0), height, width, 2)
    with _one_thread():
        search = _search()
        for step, (before, after) in enumerate(pairwise(pictures)):
            forward[step] = _between(search, before, after, scale)
            backward[step] = _between(search, after, before, scale)
    return forward.to(rgb.device), backward.to(rgb.device)


@torch.no_grad()
def from_first(guide: Guide) -> tuple[Tensor, Tensor]:
    """Where each pixel of the first frame has gone in every frame of ``guide``.

    Returns:
        flow: [T, H, W, 2] as (x, y) in pixels, from frame 0 to frame t; nothing in frame 0, and finite everywhere.
        confidence: [T, H, W] in [0, 1]: 1 where the track is sure, 0 beside the object, and from the frame on in which
            the pixel was hidden or lost.
    """
    forward, backward = pixel_flow(guide.rgb)
    num_frames, height, width = guide.mask.shape
    start = pixel_grid(height, width).to(guide.rgb)
    flow = torch.zeros(num_frames, height, width, 2).to(guide.rgb)
    confidence = torch.zeros(num_frames, height, width).to(guide.rgb)
    confidence[0] = guide.mask[0]
    for step in range(num_frames - 1):
        here = start + flow[step]
        sure = consistency(forward[step], backward[step])
        covered = guide.mask[step][..., None]
        move = _sample(forward[step] * covered, here) / _sample(covered, here).clamp(min=1e-3)
        flow[step + 1] = flow[step] + move
        there = _sample(guide.mask[step + 1][..., None], here + move)[..., 0]
        step_sure = _sample(sure[..., None], here)[..., 0]
        confidence[step + 1] = torch.minimum(confidence[step], torch.minimum(step_sure, there))
    return flow, confidence


def consistency(forward: Tensor, backward: Tensor) -> Tensor:
    """How well ``backward`` [H, W, 2] leads back to where ``forward`` [H, W, 2] came from, [H, W] in [0, 1]: 1 where
    exactly, exp(-1) where it misses by as much as Sundaram et al. allow."""
    here = pixel_grid(*forward.shape[:2]).to(forward)
    returned = _sample(backward, here + forward)
    missed = (forward + returned).square().sum(dim=-1)
    allowed = RELATIVE * (forward.square() + returned.square()).sum(dim=-1) + ABSOLUTE
    return torch.exp(-missed / allowed)


def pixel_grid(height: int, width: int) -> Tensor:
    """The index (x, y) of every pixel, [H, W, 2]."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y], dim=-1).float()


def _sample(values: Tensor, where: Tensor) -> Tensor:
    """``values`` [H, W, C] at pixel indices ``where`` [h, w, 2], bilinear, [h, w, C]; nothing is beyond the picture."""
    size = torch.tensor([values.shape[1], values.shape[0]]).to(where)
    grid = (2.0 * where + 1.0) / size - 1.0
    return torch.nn.functional.grid_sample(values.permute(2, 0, 1)[None], grid[None], align_corners=False)[0].permute(
        1, 2, 0
    )


def _search() -> cv2.DISOpticalFlow:
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    return search


def _grey(frame: Tensor, scale: int) -> np.ndarray:
    """``frame`` [H, W, 3] as grey bytes, ``scale`` times as large."""
    picture = cv2.cvtColor(frame.cpu().float().numpy(), cv2.COLOR_RGB2GRAY)
    if scale > 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return (255.0 * picture).round().clip(0, 255).astype(np.uint8)


def _between(search: cv2.DISOpticalFlow, before: np.ndarray, after: np.ndarray, scale: int) -> Tensor:
    flow = np.asarray(search.calc(before, after, None))  # type: ignore[call-overload]
    if scale > 1:
        shape = (flow.shape[1] // scale, flow.shape[0] // scale)
        flow = cv2.resize(flow, shape, interpolation=cv2.INTER_AREA) / scale
    return torch.from_numpy(np.ascontiguousarray(flow, dtype=np.float32))


@contextmanager
def _one_thread() -> Iterator[None]:
    """The search splits the picture among its threads, and what it finds depends on how many there are."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
