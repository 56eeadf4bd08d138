"""Cameras around an asset."""

from __future__ import annotations

import torch

from stages.cameras import sample_orbit_cameras

BOX = {"low": torch.tensor([-1.0, 0.0, -0.5]), "high": torch.tensor([1.0, 2.0, 0.5])}


def test_a_wider_picture_shows_the_same_and_more_at_its_sides() -> None:
    square, wide = (
        sample_orbit_cameras(
            3, **BOX, width=width, height=48, generator=torch.Generator().manual_seed(0), fill=(0.8, 0.9)
        )
        for width in (48, 72)
    )
    corners = torch.tensor([[x, y, z] for x in (-1.0, 1.0) for y in (0.0, 2.0) for z in (-0.5, 0.5)])
    for one, other in zip(square, wide, strict=True):
        assert (other.width, other.height) == (72, 48)
        torch.testing.assert_close(other.project(corners), one.project(corners) + torch.tensor([12.0, 0.0]))
        assert (one.project(corners) > 0).all() and (one.project(corners) < 48).all()
