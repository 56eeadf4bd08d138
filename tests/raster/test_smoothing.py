"""The blur of a residual: another metric with the same minimum, and a body that feels a target it does not touch."""

from __future__ import annotations

import pytest
import torch

from stages.distilling.score import ScoreConfig
from stages.raster.smoothing import blur_matrix, smooth_gradient


def test_forward_changes_nothing_and_backward_blurs() -> None:
    frames = torch.rand(2, 9, 11, 3, dtype=torch.float64, requires_grad=True)
    residual = torch.rand(2, 9, 11, 3, dtype=torch.float64)
    out = smooth_gradient(frames, 2.0)
    assert torch.equal(out, frames)
    (gradient,) = torch.autograd.grad(out, frames, residual)
    dense = torch.kron(blur_matrix(9, 2.0), blur_matrix(11, 2.0))
    expected = (dense @ residual.permute(1, 2, 0, 3).reshape(99, 6)).reshape(9, 11, 2, 3).permute(2, 0, 1, 3)
    torch.testing.assert_close(gradient, expected)
    assert smooth_gradient(frames, 0.1) is frames


@pytest.mark.parametrize("sigma", [0.5, 2.0, 5.0])
def test_the_blur_is_a_metric_and_keeps_what_is_flat(sigma: float) -> None:
    """Symmetric and positive: the residual's norm stays a norm. In the middle of a wide picture it averages."""
    matrix = blur_matrix(64, sigma)
    assert torch.equal(matrix, matrix.T)
    assert torch.linalg.eigvalsh(matrix).min() > -1e-9
    assert float(matrix[32].sum()) == pytest.approx(1.0, abs=1e-6)


def test_a_square_feels_a_target_it_does_not_touch() -> None:
    """The gradient with respect to a shift is nothing without the blur, and points to the target with it."""
    places = torch.arange(40, dtype=torch.float64)

    def bar(centre: torch.Tensor) -> torch.Tensor:
        line = torch.exp(-((places - centre) ** 2) / 2.0)
        return line[None, None, :, None].expand(1, 3, 40, 3)

    def pull(sigma: float) -> float:
        centre = torch.tensor(10.0, dtype=torch.float64, requires_grad=True)
        loss = (smooth_gradient(bar(centre), sigma) - bar(torch.tensor(25.0))).square().sum()
        (gradient,) = torch.autograd.grad(loss, centre)
        return -float(gradient)

    assert abs(pull(0.0)) < 1e-6
    assert pull(6.0) > 1e-2


def test_the_blur_falls_to_none_in_its_share_of_the_steps() -> None:
    halfway = ScoreConfig(blur=0.1, blur_until=0.5)
    assert [halfway.blur_at(done) for done in (0.0, 0.25, 0.5, 0.99)] == pytest.approx([0.1, 0.05, 0.0, 0.0])
    assert ScoreConfig().blur_at(0.5) * 64 == 2.5  # the default, at the size of the embedded prior
