"""Carrying pixels: whole shifts are exact, nothing is made or lost inside, gradients are those of the formula."""

from __future__ import annotations

import torch

from stages.priors.warp import carry, splat


def square(background: float = 1.0) -> torch.Tensor:
    """A dark red 4 x 4 square on a plain picture, [1, 3, 16, 16]."""
    picture = torch.full((1, 3, 16, 16), background)
    picture[:, :, 6:10, 6:10] = torch.tensor([0.4, 0.1, 0.2]).view(3, 1, 1)
    return picture


def shift(x: float, y: float) -> torch.Tensor:
    """The same displacement everywhere, [1, 1, 2, 16, 16]."""
    return torch.tensor([x, y]).view(1, 1, 2, 1, 1).expand(1, 1, 2, 16, 16)


def test_no_flow_changes_nothing_to_the_bit() -> None:
    assert torch.equal(carry(torch.rand(2, 3, 16, 16), torch.zeros(2, 5, 2, 16, 16)), torch.zeros(2, 5, 3, 16, 16))


def test_whole_pixels_are_moved_exactly_over_any_plain_background() -> None:
    for background in (1.0, 0.5, 0.8):
        picture = square(background)
        moved = picture + carry(picture, shift(3, -2))[:, 0]
        torch.testing.assert_close(moved, picture.roll((-2, 3), dims=(2, 3)))


def test_half_a_pixel_is_shared_and_what_leaves_is_lost() -> None:
    values = torch.rand(1, 2, 16, 16)
    inside = torch.zeros_like(values)
    inside[..., 4:12, 4:12] = values[..., 4:12, 4:12]
    torch.testing.assert_close(splat(inside, shift(0.5, 2.25)).sum(), inside.sum())
    assert splat(inside, shift(40.0, 0.0)).abs().max() == 0
    column = splat(inside, shift(0.5, 0.0))[0, 0]
    torch.testing.assert_close(column, 0.5 * (inside[0] + inside[0].roll(1, dims=-1)))


def test_a_stretched_limb_has_no_holes() -> None:
    """Pixels pulled apart to one and a half times their distance still cover what lies between."""
    rows = 0.5 * (torch.arange(16.0) - 6.0).view(16, 1).expand(16, 16)
    flow = torch.stack([torch.zeros(16, 16), rows])[None, None]
    moved = (square() + carry(square(), flow)[:, 0])[0]
    torch.testing.assert_close(moved[:, 6:12, 6:10], square()[0, :, 6:7, 6:10].expand(3, 6, 4))


def test_gradients_are_those_of_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(1, 2, 4, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    flow = torch.rand(1, 2, 2, 4, 4, dtype=torch.float64, generator=generator).mul(0.8).add(0.1).requires_grad_()
    assert torch.autograd.gradcheck(splat, (values, flow))
