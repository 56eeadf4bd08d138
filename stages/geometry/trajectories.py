"""How a trajectory is written down: as a few smooth functions of time.

A motion that repeats is a Fourier series over one cycle, so that it ends where it begins. A motion that runs through
once is a sum of cosines less what they are at the start, so that it begins at rest. Both are made orthonormal over the
frames that priors are trained on: the squares of a trajectory's coefficients add up to its mean square displacement.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

NUM_FRAMES = 16
"""Frames on which trajectories are sampled."""

NUM_FUNCTIONS = 11
"""A constant and five harmonics, or eleven cosines."""


@dataclass(frozen=True)
class Basis:
    """The functions of one kind of motion.

    Args:
        cyclic: whether the motion repeats: ``frame_time`` 0 and 1 are the same moment then.
    """

    cyclic: bool

    def times(self) -> Tensor:
        """The ``frame_time`` [T] of each of the ``NUM_FRAMES`` samples; of a loop the last is not the first again."""
        return torch.arange(NUM_FRAMES) / (NUM_FRAMES if self.cyclic else NUM_FRAMES - 1)

    def at(self, frame_times: Tensor) -> Tensor:
        """Values [T, K] of the functions at ``frame_times`` [T] in [0, 1]."""
        raw = _raw(self.cyclic, frame_times.double().cpu())
        return (raw @ _whitening(self.cyclic)).to(frame_times)

    def coefficients(self, displacements: Tensor) -> Tensor:
        """Coefficients [..., K, 3] of ``displacements`` [..., T, 3], sampled at ``times``."""
        return torch.einsum("tk,...td->...kd", _inverse(self.cyclic).to(displacements), displacements)

    def displacements(self, coefficients: Tensor, frame_times: Tensor) -> Tensor:
        """Displacements [..., T, 3] at ``frame_times`` [T] of ``coefficients`` [..., K, 3]."""
        return torch.einsum("tk,...kd->...td", self.at(frame_times).to(coefficients), coefficients)

    def shifted(self, coefficients: Tensor, shift: float) -> Tensor:
        """Coefficients [..., K, 3] of the loop that starts ``shift`` cycles later."""
        return torch.einsum("jk,...kd->...jd", shift_matrix(shift).to(coefficients), coefficients)


@lru_cache(maxsize=2)
def basis_of(cyclic: bool) -> Basis:
    """The basis of loops, or of motions that run through once."""
    return Basis(cyclic)


@lru_cache(maxsize=256)
def shift_matrix(shift: float) -> Tensor:
    """The matrix [K, K] that moves the coefficients of a loop on by ``shift`` cycles."""
    matrix = torch.zeros(NUM_FUNCTIONS, NUM_FUNCTIONS, dtype=torch.float64)
    matrix[0, 0] = 1.0
    for harmonic in range(1, (NUM_FUNCTIONS - 1) // 2 + 1):
        c, s = math.cos(2.0 * math.pi * harmonic * shift), math.sin(2.0 * math.pi * harmonic * shift)
        first = 2 * harmonic - 1
        matrix[first, first], matrix[first, first + 1] = c, s
        matrix[first + 1, first], matrix[first + 1, first + 1] = -s, c
    return matrix


def _raw(cyclic: bool, frame_times: Tensor) -> Tensor:
    """The functions [T, K] before they are made orthonormal, double."""
    if not cyclic:
        waves = torch.arange(1, NUM_FUNCTIONS + 1, dtype=torch.float64)
        return torch.cos(math.pi * waves * frame_times[:, None]) - 1.0
    columns = [torch.ones_like(frame_times)]
    for harmonic in range(1, (NUM_FUNCTIONS - 1) // 2 + 1):
        angle = 2.0 * math.pi * harmonic * frame_times
        columns += [torch.cos(angle), torch.sin(angle)]
    return torch.stack(columns, dim=1)


@lru_cache(maxsize=2)
def _whitening(cyclic: bool) -> Tensor:
    """[K, K] that makes the functions orthonormal over the samples: ``phi^T phi = T``."""
    raw = _raw(cyclic, basis_of(cyclic).times().double())
    R = torch.linalg.qr(raw)[1]
    return torch.linalg.inv(R) * R.diagonal().sign() * math.sqrt(NUM_FRAMES)


@lru_cache(maxsize=2)
def _inverse(cyclic: bool) -> Tensor:
    """[T, K]: ``coefficients = inverse^T displacements``, the least-squares fit."""
    phi = _raw(cyclic, basis_of(cyclic).times().double()) @ _whitening(cyclic)
    return phi / NUM_FRAMES
