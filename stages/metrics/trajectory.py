"""How far a motion is from the true one: the same Gaussians, up to the phase of a loop."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stages.metrics.motion import motion_amplitude

CLOSED = 0.25
"""A motion is a loop when its last frame is nearer to its first than this share of how far it goes: gallops end as far
as 0.18 from where they began, jumps to a stand 0.33 and more, falls 1. [ours]"""


@dataclass(frozen=True)
class Comparison:
    """A motion against the true one."""

    error: float  # mean distance, % of the diagonal
    ratio: float  # that over the error of the asset at rest
    cosine: float  # of all displacements
    amplitude: float  # how far it goes over how far it should
    shift: int  # frames by which the truth was shifted
    shifts: int  # how many shifts were tried: 1 where the truth is no loop


def is_loop(truth: Tensor) -> bool:
    """Whether ``truth`` [T, N, 3] ends where it begins."""
    reach = (truth - truth[:1]).norm(dim=-1).mean(dim=1).max()
    return bool((truth[-1] - truth[0]).norm(dim=-1).mean() <= CLOSED * reach) and truth.shape[0] > 2


def compare(means: Tensor, truth: Tensor, rest: Tensor) -> Comparison:
    """Compare ``means`` [T, N, 3] with ``truth`` [T, N, 3], the asset at rest being ``rest`` [N, 3], any one unit.

    Of a loop the last frame is the first again, so that there are T - 1 phases; the one with the least error counts.
    """
    steps = truth.shape[0] - 1
    shifts = range(steps) if is_loop(truth) else range(1)
    errors = [float((means - shifted(truth, shift)).norm(dim=-1).mean()) for shift in shifts]
    shift = min(shifts, key=errors.__getitem__)
    true = shifted(truth, shift)
    diagonal = float((rest.amax(dim=0) - rest.amin(dim=0)).norm())
    at_rest = min(float((rest - shifted(truth, other)).norm(dim=-1).mean()) for other in shifts)
    return Comparison(
        error=100.0 * errors[shift] / diagonal,
        ratio=errors[shift] / max(at_rest, 1e-9 * diagonal),
        cosine=displacement_cosine(means, true, rest),
        amplitude=motion_amplitude(means, rest) / max(motion_amplitude(true, rest), 1e-9),
        shift=shift,
        shifts=len(shifts),
    )


def shifted(truth: Tensor, shift: int) -> Tensor:
    """A loop [T, N, 3], whose last frame is its first, begun ``shift`` frames later."""
    if shift == 0:
        return truth
    steps = truth.shape[0] - 1
    return truth[(torch.arange(steps + 1) + shift) % steps]


def displacement_cosine(means: Tensor, truth: Tensor, rest: Tensor) -> float:
    """Cosine between all displacements from ``rest`` [N, 3] of ``means`` and ``truth`` [T, N, 3]; 0 where one of them
    does not move."""
    moved, should = (means - rest).double(), (truth - rest).double()
    return float((moved * should).sum() / (moved.norm() * should.norm()).clamp(min=1e-9))
