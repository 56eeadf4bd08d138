"""Cameras that follow: a smooth path, and the same picture of a body that goes with them."""

from __future__ import annotations

import torch

from stages.cameras import orbit_camera
from stages.cameras.follow import follow, smooth_path


def test_a_straight_path_stays_and_a_shaking_one_calms_down() -> None:
    straight = torch.linspace(0.0, 3.0, 20)[:, None] * torch.tensor([1.0, 0.0, -0.5])
    torch.testing.assert_close(smooth_path(straight, 3.0), straight)
    shaking = straight + 0.2 * (torch.arange(20) % 2)[:, None]
    smooth = smooth_path(shaking, 2.0)
    assert float(smooth.diff(n=2, dim=0).abs().max()) < 0.1 * float(shaking.diff(n=2, dim=0).abs().max())


def test_a_closed_path_is_smoothed_across_its_ends() -> None:
    angles = torch.arange(16) * (2.0 * torch.pi / 16)
    circle = torch.stack([angles.cos(), angles.sin()], dim=-1)
    smooth = smooth_path(circle, 1.5, closed=True)
    torch.testing.assert_close(smooth.norm(dim=-1), smooth.norm(dim=-1)[:1].expand(16))


def test_short_paths_and_no_smoothing() -> None:
    assert torch.equal(smooth_path(torch.ones(1, 3), 4.0), torch.ones(1, 3))
    assert smooth_path(torch.rand(2, 3), 4.0).shape == (2, 3)
    path = torch.rand(5, 3, requires_grad=True)
    assert torch.equal(smooth_path(path, 0.0), path) and not smooth_path(path, 1.0).requires_grad


def test_what_goes_with_the_camera_stays_in_its_place() -> None:
    camera = orbit_camera(azimuth_deg=40.0, elevation_deg=20.0, radius=4.0, fov_deg=40.0, width=32, height=24)
    shifts = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 2.0], [-3.0, 0.5, 0.0]])
    point = torch.tensor([0.1, 0.2, 0.3])
    pixels = torch.stack(
        [moved.project(point + shift) for moved, shift in zip(follow([camera] * 3, shifts), shifts, strict=True)]
    )
    torch.testing.assert_close(pixels, camera.project(point).expand(3, 2))
