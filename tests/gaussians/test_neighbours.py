"""Neighbours against brute force, coinciding points included."""

from __future__ import annotations

import torch

from stages.gaussians.neighbours import nearest_neighbours


def test_against_brute_force() -> None:
    points = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    _, distances = nearest_neighbours(points, 5)
    expected = torch.cdist(points, points).fill_diagonal_(torch.inf).sort(dim=1).values[:, :5]
    torch.testing.assert_close(distances, expected, atol=1e-5, rtol=0)


def test_no_point_is_its_own_neighbour() -> None:
    indices, _ = nearest_neighbours(torch.zeros(6, 3), 3)
    assert (indices != torch.arange(6)[:, None]).all()
    assert nearest_neighbours(torch.randn(3, 3), 8)[0].shape == (3, 2)


def test_nobody_has_neighbours_alone() -> None:
    for count in (0, 1):
        indices, distances = nearest_neighbours(torch.randn(count, 3), 8)
        assert indices.shape == distances.shape == (count, 0)
