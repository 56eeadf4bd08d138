"""Laws of TV-3D and ARAP."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stages.gaussians.neighbours import nearest_neighbours
from stages.geometry.rotations import best_rotations
from stages.motion.regularizers import arap, tv3d


def cloud(count: int = 60) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def rotations(frames: int) -> Tensor:
    random = torch.randn(frames, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    Q = torch.linalg.qr(random).Q
    return Q * torch.linalg.det(Q)[:, None, None]


def test_tv_is_zero_on_a_statue_and_counts_steps() -> None:
    still = cloud().expand(5, -1, -1)
    assert tv3d(still) == 0.0
    moving = still + torch.arange(5.0, dtype=torch.float64)[:, None, None] * torch.tensor([0.1, -0.2, 0.0])
    assert tv3d(moving).item() == pytest.approx(0.3)
    assert tv3d(still[:1]) == 0.0


def test_arap_is_zero_on_a_rigid_motion() -> None:
    points = cloud()
    neighbours, distances = nearest_neighbours(points, 6)
    moved = torch.einsum("tij,nj->tni", rotations(4), points) + torch.randn(4, 1, 3, dtype=torch.float64)
    assert arap(moved, points, neighbours, distances) < 1e-12
    single = arap(moved.float(), points.float(), neighbours, distances.float())
    assert single < 1e-6
    assert arap(1.5 * moved, points, neighbours, distances) > 0.05
    assert (
        arap(moved * torch.tensor([1.0, 1.0, -1.0]), points, neighbours, distances) > 0.05
    )  # a mirror image is not rigid


def test_best_rotations_are_kabsch_rotations() -> None:
    """Against SVD with the determinant fix, on random matrices, half of which have a reflection as their best fit."""
    A = torch.randn(500, 3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    U, _, Vh = torch.linalg.svd(A)
    fix = torch.ones(500, 3, dtype=torch.float64)
    fix[:, 2] = torch.linalg.det(U @ Vh)
    expected = U * fix[:, None] @ Vh
    assert (fix[:, 2] < 0).sum() > 100
    gained = (best_rotations(A) * A).sum(dim=(1, 2))
    torch.testing.assert_close(gained, (expected * A).sum(dim=(1, 2)), atol=1e-6, rtol=1e-6)


def test_gradients_reach_the_means() -> None:
    """gradcheck of ARAP with its rotations held, as in the definition: at a rigid motion they are stationary."""
    points = cloud(8)
    neighbours, distances = nearest_neighbours(points, 3)
    moved = (points + 0.1 * torch.randn(2, 8, 3, dtype=torch.float64)).requires_grad_()
    # The minimum over rotations has the same derivative as the held rotation (envelope theorem).
    assert torch.autograd.gradcheck(lambda m: arap(m, points, neighbours, distances), (moved,), atol=1e-5)
    assert torch.autograd.gradcheck(tv3d, (moved,))


def test_anchors_are_a_sample_of_the_whole() -> None:
    points = cloud()
    neighbours, distances = nearest_neighbours(points, 4)
    moved = points + 0.1 * torch.randn(2, 60, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    halves = [arap(moved, points, neighbours, distances, half) for half in torch.arange(60).chunk(2)]
    torch.testing.assert_close(torch.stack(halves).mean(), arap(moved, points, neighbours, distances))
