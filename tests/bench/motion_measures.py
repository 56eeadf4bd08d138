"""How alike two motions of the same points are, how a motion keeps a body's shape, and how its feet slide.

A motion is [T, N, 3]: how far each point is from where it rests, in T frames. Of a loop the frames are one cycle,
without the first again.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from statistics import median

import torch
from torch import Tensor

from stages.gaussians.neighbours import nearest_neighbours
from stages.metrics import contact

NUM_SHIFTS = 64
"""Of a loop that are tried."""

NUM_NEIGHBOURS = 6
RIGID = 0.9
"""Skin weight from which a point counts as part of one bone."""


def compare(made: Tensor, truth: Tensor, cyclic: bool) -> dict[str, float]:
    """How alike ``made`` and ``truth`` are; a loop at its best shift.

    The cosine between the two, taken as vectors; the amplitude of ``made`` over that of ``truth``; and the distance
    between them over that of a body that stands still.
    """
    if cyclic:
        made = in_phase(made, truth)
    size, own = float(truth.norm()), float(made.norm())
    return {
        "cosine": float((made * truth).sum()) / max(size * own, 1e-9),
        "amplitude": own / max(size, 1e-9),
        "distance_ratio": float((made - truth).norm()) / max(size, 1e-9),
    }


def in_phase(made: Tensor, truth: Tensor) -> Tensor:
    """The loop ``made`` at the shift that brings it nearest to ``truth``."""
    matrices = _shifts(len(made)).to(made)
    agreement = torch.einsum("tnd,und->tu", truth, made)
    best = matrices[(matrices * agreement).sum(dim=(1, 2)).argmax()]
    return torch.einsum("tu,und->tnd", best, made)


def spread(samples: Tensor, cyclic: bool) -> float:
    """Median distance between two of ``samples`` [B, T, N, 3] over their usual size; loops at their best shift."""
    away = []
    for one, other in combinations(samples, 2):
        away.append(float((one - (in_phase(other, one) if cyclic else other)).norm()))
    size = float(samples.flatten(1).norm(dim=1).mean())
    return median(away) / max(size, 1e-9)


def stretching(rest: Tensor, moves: Tensor, weights: Tensor, *, within: bool = False) -> float:
    """How much a body changes its shape where it should not, as a share of distances at rest.

    Args:
        rest: [N, 3] points.
        moves: [T, N, 3].
        weights: [N, S] skin weights.
        within: whether neighbours count only that belong to the same bone.

    Returns:
        The mean change of the distance from their neighbours, of points whose largest skin weight is ``RIGID`` or more.
    """
    rigid, bone = weights.amax(dim=1) >= RIGID, weights.argmax(dim=1)
    neighbours, distances = nearest_neighbours(rest, NUM_NEIGHBOURS)
    counted = rigid[:, None] & (distances > 1e-6)
    if within:
        counted &= rigid[neighbours] & (bone[neighbours] == bone[:, None])
    if not counted.any():
        return 0.0
    first, _ = counted.nonzero(as_tuple=True)
    second, before = neighbours[counted], distances[counted]
    changes = [((frame[first] - frame[second]).norm(dim=-1) - before).abs() / before for frame in rest + moves]
    return float(torch.stack(changes).mean())


def foot_slide(rest: Tensor, moves: Tensor, seconds: float) -> float | None:
    """How fast the feet of a loop that takes ``seconds`` slide over the ground, in body heights a second.

    The mean horizontal speed of points that touch the ground, which is where the lowest point of all frames is, in two
    frames running, less the one constant velocity that makes it least: a body that walks on the spot slides with the
    speed of its walk. None where nothing touches the ground.
    """
    where = torch.cat([rest + moves, (rest + moves)[:1]])  # [T + 1, N, 3]
    height = float(rest[:, 1].max() - rest[:, 1].min())
    return contact.foot_slide(where, seconds, height, in_place=True)


@lru_cache(maxsize=4)
def _shifts(frames: int) -> Tensor:
    """Matrices [S, T, T] that begin a loop of ``frames`` later, by shares of its cycle; between frames by its Fourier
    series."""
    waves = torch.fft.rfft(torch.eye(frames, dtype=torch.float64), dim=0)
    turns = torch.arange(NUM_SHIFTS, dtype=torch.float64) / NUM_SHIFTS
    phase = torch.exp(2j * torch.pi * turns[:, None] * torch.arange(len(waves), dtype=torch.float64))
    return torch.fft.irfft(phase[..., None] * waves, n=frames, dim=1).float()
