"""The motion field is the identity at first, continuous in time, and all of it can learn."""

from __future__ import annotations

import torch

from stages.gaussians import Gaussians
from stages.motion.hexplane import HexPlane, HexPlaneConfig

CONFIG = HexPlaneConfig(spatial_resolution=6, time_resolution=5, features=4, hidden=8, still_start=0.2)


def asset(count: int = 30) -> Gaussians:
    generator = torch.Generator().manual_seed(0)
    return Gaussians(
        means=torch.randn(count, 3, generator=generator),
        quats=torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=-1),
        log_scales=torch.full((count, 3), -3.0),
        logit_opacities=torch.ones(count),
        sh=torch.zeros(count, 1, 3),
    )


def moving_field(gaussians: Gaussians, config: HexPlaneConfig = CONFIG) -> HexPlane:
    torch.manual_seed(0)
    field = HexPlane(config, *gaussians.bounds())
    torch.nn.init.normal_(field.decoder[-1].weight, std=0.5)  # type: ignore[arg-type]
    for plane in field.time:
        torch.nn.init.normal_(plane, mean=1.0, std=0.3)
    return field


def test_a_new_field_moves_nothing_exactly() -> None:
    gaussians = asset()
    frames = HexPlane(CONFIG, *gaussians.bounds()).at(gaussians, torch.rand(4))
    assert torch.equal(frames.means, gaussians.means.expand(4, -1, -1))


def test_frame_zero_is_the_asset_and_later_frames_are_not() -> None:
    gaussians = asset()
    means = moving_field(gaussians).at(gaussians, torch.tensor([0.0, 0.5])).means
    assert torch.equal(means[0], gaussians.means)
    assert (means[1] - gaussians.means).abs().max() > 0.01


def test_frames_are_independent_of_how_many_are_asked() -> None:
    gaussians = asset()
    field = moving_field(gaussians)
    many = field.displacements(gaussians.means, torch.linspace(0, 1, 31))
    few = field.displacements(gaussians.means, torch.linspace(0, 1, 16))
    torch.testing.assert_close(many[::2], few)


def test_motion_is_continuous_in_time_and_space() -> None:
    gaussians = asset()
    field = moving_field(gaussians)
    near = field.displacements(gaussians.means, torch.tensor([0.4, 0.4001]))
    assert (near[1] - near[0]).abs().max() < 1e-3
    shifted = field.displacements(gaussians.means + 1e-4, torch.tensor([0.4]))
    assert (shifted[0] - near[0]).abs().max() < 1e-2


def test_every_parameter_gets_a_gradient_and_the_field_reloads() -> None:
    gaussians = asset()
    field = moving_field(gaussians)
    field.displacements(gaussians.means, torch.linspace(0, 1, 7)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in field.parameters())
    loaded = HexPlane.from_tensors(field.tensors(), field.metadata())
    assert torch.equal(
        loaded.displacements(gaussians.means, torch.tensor([0.7])),
        field.displacements(gaussians.means, torch.tensor([0.7])),
    )
