"""Image metrics against values that can be worked out by hand, and against their own definitions."""

from __future__ import annotations

import pytest
import torch

from stages.metrics.image import colour_drift, off_object_alpha, psnr, ssim


def picture(seed: int, side: int = 24) -> torch.Tensor:
    return torch.rand(side, side, 3, generator=torch.Generator().manual_seed(seed))


def test_psnr_of_a_constant_error() -> None:
    image = 0.5 * picture(0)
    assert psnr(image + 0.1, image) == pytest.approx(20.0, abs=1e-4)  # -10 log10(0.01)
    assert psnr(image, image) == 100.0


def test_ssim_is_one_only_for_equal_pictures() -> None:
    image = picture(0)
    assert ssim(image, image) == pytest.approx(1.0, abs=1e-12)
    assert ssim(image, 0.5 + 0.5 * (image - 0.5)) < 0.9
    assert abs(ssim(image, picture(1))) < 0.1


def test_ssim_of_two_flat_pictures() -> None:
    """Without variance only the term of the means is left: (2 a b + c1) / (a^2 + b^2 + c1)."""
    a, b, c1 = 0.3, 0.6, 1e-4
    value = ssim(torch.full((16, 16, 3), a), torch.full((16, 16, 3), b))
    assert value == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1), abs=1e-6)


def test_off_object_alpha_counts_only_what_is_far() -> None:
    alpha = torch.zeros(20, 20)
    alpha[4:6, 4:6] = 1.0  # the object
    alpha[15, 15] = 1.0  # a floater
    solid = torch.tensor([[4.5, 4.5], [5.5, 5.5]])
    assert off_object_alpha(alpha, solid, 2.0) == pytest.approx(0.2)
    assert off_object_alpha(alpha, torch.tensor([[4.5, 4.5], [15.2, 15.7]]), 2.0) == 0.0
    assert off_object_alpha(alpha, torch.tensor([[-5.0, 40.0]]), 2.0) == 1.0  # every Gaussian out of the picture
    assert off_object_alpha(torch.zeros(20, 20), solid, 2.0) == 0.0


def test_colours_drift_by_the_share_of_the_body_that_changes() -> None:
    """A body of 12 pixels on white, half covered: a quarter of it turns from red to blue in one of two later frames."""
    rgb, alpha = torch.zeros(3, 4, 4, 3), torch.zeros(3, 4, 4)
    alpha[:, :3] = 0.5
    rgb[:, :3, :, 0] = 0.9
    rgb[2, 0, :3] = torch.tensor([0.0, 0.0, 0.9])
    over_white = rgb * alpha[..., None] + 1.0 - alpha[..., None]
    assert colour_drift(over_white, alpha, background=1.0) == pytest.approx(0.5 * 3 / 12)
    moved = torch.roll(over_white[:2], 1, dims=2)
    assert colour_drift(moved, alpha[:2], background=1.0) == 0.0
