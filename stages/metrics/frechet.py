"""The Frechet distance between two sets of features: FID, FVD and their like."""

from __future__ import annotations

import torch
from torch import Tensor


def frechet_distance(features: Tensor, reference: Tensor) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of the Gaussians fitted to two sets (Heusel et al. 2017).

    ``features`` [M, D] and ``reference`` [R, D], at least two of each; covariances divide by M - 1 and R - 1.

    The square root is never formed. With centred features X1, X2 the eigenvalues of S1 S2 that are not 0 are the
    squared singular values of X1 X2^T, over (M - 1)(R - 1): for a few hundred samples of a few thousand dimensions that
    is small, exact, and free of the imaginary parts of a singular matrix's root.
    """
    x1, x2 = features.double(), reference.double()
    mean1, mean2 = x1.mean(dim=0), x2.mean(dim=0)
    x1, x2 = (x1 - mean1) / (len(x1) - 1) ** 0.5, (x2 - mean2) / (len(x2) - 1) ** 0.5
    root = torch.linalg.svdvals(_narrow(x1) @ _narrow(x2).T).sum()
    return float((mean1 - mean2).square().sum() + x1.square().sum() + x2.square().sum() - 2.0 * root)


def _narrow(x: Tensor) -> Tensor:
    """A matrix [min(M, D), D] with the same x^T x, for more samples than dimensions."""
    return x if x.shape[0] <= x.shape[1] else torch.linalg.qr(x, mode="r").R
