"""Nearest neighbours among the Gaussians' means."""

from __future__ import annotations

import torch
from scipy.spatial import cKDTree
from torch import Tensor


def nearest_neighbours(means: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Indices [N, k] and distances [N, k] of the ``k`` nearest other Gaussians of ``means`` [N, 3].

    With fewer than k + 1 Gaussians, k is lowered to N - 1.
    """
    k = max(0, min(k, means.shape[0] - 1))
    if k == 0:
        return means.new_zeros((means.shape[0], 0), dtype=torch.long), means.new_zeros((means.shape[0], 0))
    points = means.detach().cpu().numpy()
    distances, indices = cKDTree(points).query(points, k=list(range(1, k + 2)))
    # a point is its own nearest neighbour, but not always the first one where points coincide
    own = indices == torch.arange(len(points)).numpy()[:, None]
    own[~own.any(axis=1), -1] = True
    keep = ~own
    shape = (len(points), k)
    return (
        torch.from_numpy(indices[keep].reshape(shape)).to(means.device),
        torch.from_numpy(distances[keep].reshape(shape)).to(means),
    )
