"""Pixel flow of a video, estimated: from frame to frame, and from the first frame to every other.

Between neighbouring frames it is OpenCV's DIS (Kroeger, Timofte, Dai and Van Gool 2016, "Fast Optical Flow using Dense
Inverse Search"). From the first frame, each pixel is tracked through the frames. What goes wrong is said by the
forward-backward check of Sundaram, Brox and Keutzer (2010, "Dense Point Trajectories by GPU-accelerated Large
Displacement Optical Flow", Eq. 5): where the backward flow does not lead back, the pixel was hidden or the flow is
wrong, and its track ends there.

Tracks drift, and what was hidden for a moment is lost. So each frame is compared with the first directly, too, from
where the tracks lead; that is taken where it is surer. A leg that is like the other one would be found there, though:
what is far from where the tracks lead, or has another colour, does not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.guides.guide import Guide

SMALLEST_PX = 256
"""Shorter sides are enlarged to this before the search: its patches are 8 pixels, and legs of small pictures are
thinner. [ours]"""

Picture = NDArray[np.uint8]

RELATIVE, ABSOLUTE = 0.01, 0.5
"""How far, squared, a pixel may miss where it came from: as a share of the flow, and in pixels (Sundaram et al.)."""


STRAY = 0.016
"""Of the picture's height: how far from where the tracks lead a direct match may be. [ours]"""

OTHER_COLOUR = 0.15
"""How much a pixel's colour may change on its way (largest channel). [ours]"""

REACH = 1 / 32
"""Of the picture's height: over which distance a pixel without a track follows those beside it. [ours]"""


@torch.no_grad()
def pixel_flow(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel flow between neighbouring frames of a video ``rgb`` [T, H, W, 3] in [0, 1].

    Returns:
        forward: [T - 1, H, W, 2], how far (x, y), in pixels, each pixel of frame t goes until frame t + 1.
        backward: [T - 1, H, W, 2], how far each pixel of frame t + 1 has come since frame t: the way back.
    """
    assert rgb.ndim == 4 and rgb.shape[-1] == 3, rgb.shape
    num_frames, height, width = rgb.shape[:3]
    search = _Search(height, width)
    pictures = [search.grey(frame) for frame in rgb]
    forward, backward = torch.zeros(2, max(num_frames - 1, 0), height, width, 2)
    with _one_thread():
        for step, (before, after) in enumerate(pairwise(pictures)):
            forward[step] = search.between(before, after)
            backward[step] = search.between(after, before)
    return forward.to(rgb.device), backward.to(rgb.device)


@torch.no_grad()
def from_first(guide: Guide) -> tuple[Tensor, Tensor]:
    """Where each pixel of the first frame has gone in every frame of ``guide``.

    Returns:
        flow: [T, H, W, 2] as (x, y) in pixels, from frame 0 to frame t; nothing in frame 0, and finite everywhere.
        confidence: [T, H, W] in [0, 1]: 1 where the track is sure, 0 beside the object, and from the frame on in which
            the pixel was hidden or lost.
    """
    flow, confidence = _tracked(guide)
    height, width = guide.mask.shape[1:]
    search = _Search(height, width)
    first, here = search.grey(guide.rgb[0]), pixel_grid(height, width).to(guide.rgb)
    with _one_thread():
        for frame in range(1, len(flow)):
            lead = _filled(flow[frame], confidence[frame])
            picture = search.grey(guide.rgb[frame])
            there = search.between(first, picture, lead)
            back = search.between(picture, first, _inverse(lead))
            there, back = there.to(flow), back.to(flow)
            sure = torch.minimum(consistency(there, back) * guide.mask[0], _at(guide.mask[frame], here + there))
            sure = sure * torch.exp(-((there - lead).norm(dim=-1) / (STRAY * height)).square())
            change = (_sample(guide.rgb[frame], here + there) - guide.rgb[0]).abs().amax(dim=-1)
            sure = sure * torch.exp(-(change / OTHER_COLOUR).square())
            better = sure > confidence[frame]
            flow[frame] = torch.where(better[..., None], there, flow[frame])
            confidence[frame] = torch.where(better, sure, confidence[frame])
    return flow, confidence


def _tracked(guide: Guide) -> tuple[Tensor, Tensor]:
    """``from_first`` by tracks through the frames alone."""
    forward, backward = pixel_flow(guide.rgb)
    num_frames, height, width = guide.mask.shape
    start = pixel_grid(height, width).to(guide.rgb)
    flow = torch.zeros(num_frames, height, width, 2).to(guide.rgb)
    confidence = torch.zeros(num_frames, height, width).to(guide.rgb)
    confidence[0] = guide.mask[0]
    for step in range(num_frames - 1):
        here = start + flow[step]
        covered = guide.mask[step][..., None]
        move = _sample(forward[step] * covered, here) / _sample(covered, here).clamp(min=1e-3)
        flow[step + 1] = flow[step] + move
        sure = _at(consistency(forward[step], backward[step]), here)
        there = _at(guide.mask[step + 1], here + move)
        confidence[step + 1] = torch.minimum(confidence[step], torch.minimum(sure, there))
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


def _at(values: Tensor, where: Tensor) -> Tensor:
    """As ``_sample``, of ``values`` [H, W]: [h, w]."""
    return _sample(values[..., None], where)[..., 0]


def _filled(flow: Tensor, confidence: Tensor) -> Tensor:
    """``flow`` [H, W, 2], where it is not sure that of the pixels beside it that are."""
    weight = (confidence + 1e-6)[..., None].cpu()
    deviation = REACH * flow.shape[0]
    blurred = [
        cv2.GaussianBlur(np.ascontiguousarray(part), (0, 0), deviation) for part in (flow.cpu() * weight, weight)
    ]
    smooth = torch.from_numpy(blurred[0] / blurred[1].reshape(*weight.shape)).to(flow)
    return torch.lerp(smooth, flow, confidence[..., None])


def _inverse(flow: Tensor) -> Tensor:
    """The way back: what at each pixel leads to where ``flow`` [H, W, 2] comes from; by a few fixed-point steps."""
    here = pixel_grid(*flow.shape[:2]).to(flow)
    back = torch.zeros_like(flow)
    for _ in range(5):
        back = -_sample(flow, here + back)
    return back


class _Search:
    """DIS on pictures of one size, enlarged where they are small."""

    def __init__(self, height: int, width: int) -> None:
        self.scale = max(1, -(-SMALLEST_PX // min(height, width)))
        self.shape = (width, height)
        self.dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.dis.setFinestScale(0)

    def grey(self, frame: Tensor) -> Picture:
        """``frame`` [H, W, 3] as the search wants it."""
        picture = cv2.cvtColor(frame.cpu().float().numpy(), cv2.COLOR_RGB2GRAY)
        if self.scale > 1:
            picture = cv2.resize(picture, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_CUBIC)
        return (255.0 * picture).round().clip(0, 255).astype(np.uint8)

    def between(self, before: Picture, after: Picture, lead: Tensor | None = None) -> Tensor:
        """Pixel flow [H, W, 2] from ``before`` to ``after``, searched from ``lead`` [H, W, 2] on."""
        start = None
        if lead is not None:
            start = lead.cpu().float().numpy().copy()  # the search writes into it
            if self.scale > 1:
                start = self.scale * cv2.resize(start, before.shape[::-1], interpolation=cv2.INTER_LINEAR)
        flow = np.asarray(self.dis.calc(before, after, start))  # type: ignore[arg-type]  # None: from nothing
        if self.scale > 1:
            flow = cv2.resize(flow, self.shape, interpolation=cv2.INTER_AREA) / self.scale
        return torch.from_numpy(np.array(flow, dtype=np.float32))


@contextmanager
def _one_thread() -> Iterator[None]:
    """The search splits the picture among its threads, and what it finds depends on how many there are."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
