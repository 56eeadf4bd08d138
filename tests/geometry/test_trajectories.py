"""Trajectories as sums of functions of time: orthonormal, loops that close, motions that begin at rest."""

from __future__ import annotations

import pytest
import torch

from stages.geometry.trajectories import NUM_FRAMES, NUM_FUNCTIONS, basis_of


@pytest.mark.parametrize("cyclic", [False, True])
def test_squares_of_coefficients_add_up_to_the_mean_square_displacement(cyclic: bool) -> None:
    basis = basis_of(cyclic)
    coefficients = torch.randn(5, NUM_FUNCTIONS, 3, dtype=torch.float64)
    displacements = basis.displacements(coefficients, basis.times().double())
    torch.testing.assert_close(basis.coefficients(displacements), coefficients)
    mean_square = displacements.square().sum(dim=-1).mean(dim=-1)
    torch.testing.assert_close(coefficients.square().sum(dim=(-2, -1)), mean_square)


def test_a_loop_ends_where_it_begins_and_goes_on_there() -> None:
    coefficients = torch.randn(4, NUM_FUNCTIONS, 3, dtype=torch.float64)
    near = basis_of(True).displacements(coefficients, torch.tensor([0.0, 1.0, 1e-4, 1.0 - 1e-4], dtype=torch.float64))
    torch.testing.assert_close(near[:, 0], near[:, 1])
    torch.testing.assert_close(near[:, 2] - near[:, 0], near[:, 1] - near[:, 3], rtol=0.1, atol=1e-4)


def test_a_motion_that_runs_through_once_begins_at_rest() -> None:
    at = basis_of(False).at(torch.tensor([0.0, 0.3]))
    assert (at[0] == 0.0).all() and at[1].abs().max() > 0.1


def test_a_shift_of_a_loop_is_a_shift_of_its_frames() -> None:
    basis = basis_of(True)
    coefficients = torch.randn(6, NUM_FUNCTIONS, 3, dtype=torch.float64)
    frames = basis.displacements(coefficients, basis.times().double())
    shifted = basis.displacements(basis.shifted(coefficients, 3 / NUM_FRAMES), basis.times().double())
    torch.testing.assert_close(shifted, frames.roll(-3, dims=1))
