"""Which of several motions of the same points differ."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stages.geometry.trajectories import NUM_FRAMES, shift_matrix

ALIKE = 0.15
"""Two motions are alike whose distance over their size is less. [ours]"""


def unlike(coefficients: Tensor, count: int, *, cyclic: bool) -> list[int]:
    """The numbers of ``count`` of the motions ``coefficients`` [B, N, K, 3], in their order: the first, then those that
    are unlike all before them, then whatever is left."""
    kept: list[int] = []
    for number, one in enumerate(coefficients):
        if all(difference(one, coefficients[other], cyclic=cyclic) >= ALIKE for other in kept):
            kept.append(number)
    rest = [number for number in range(len(coefficients)) if number not in kept]
    return sorted(kept[:count] + rest[: max(0, count - len(kept))])


def difference(one: Tensor, other: Tensor, *, cyclic: bool) -> float:
    """The distance between two motions [N, K, 3] over their size; of loops at the best shift."""
    return float(_nearest(one, other, cyclic=cyclic)) / max(0.5 * float(one.norm() + other.norm()), 1e-9)


def _nearest(one: Tensor, other: Tensor, *, cyclic: bool) -> Tensor:
    if not cyclic:
        return (one - other).norm()
    products = torch.einsum("njd,nkd->jk", one, other)
    agreement = max(float((products * shift).sum()) for shift in _shifts(one))
    return (one.square().sum() + other.square().sum() - 2.0 * agreement).clamp(min=0.0).sqrt()


def _shifts(like: Tensor) -> Sequence[Tensor]:
    return [shift_matrix(step / NUM_FRAMES).to(like) for step in range(NUM_FRAMES)]
