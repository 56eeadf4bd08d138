"""The motion field is the identity at first, continuous in time, and all of it can learn."""

from __future__ import annotations

import torch

from stages.gaussians import Gaussians
from stages.motion.hexplane import HexPlaneConfig, MotionField, apply_offsets

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


def moving_field(gaussians: Gaussians, config: HexPlaneConfig = CONFIG) -> MotionField:
    torch.manual_seed(0)
    field = MotionField(config, *gaussians.bounds())
    torch.nn.init.normal_(field.decoder[-1].weight, std=0.5)  # type: ignore[arg-type]
    for plane in field.time:
        torch.nn.init.normal_(plane, mean=1.0, std=0.3)
    return field


def test_a_new_field_moves_nothing_exactly() -> None:
    gaussians = asset()
    means, quats = apply_offsets(gaussians, MotionField(CONFIG, *gaussians.bounds())(gaussians.means, torch.rand(4)))
    assert torch.equal(means, gaussians.means.expand(4, -1, -1))
    assert torch.equal(quats, gaussians.quats.expand(4, -1, -1))


def test_frame_zero_is_the_asset_and_later_frames_are_not() -> None:
    gaussians = asset()
    means, quats = apply_offsets(gaussians, moving_field(gaussians)(gaussians.means, torch.tensor([0.0, 0.5])))
    assert torch.equal(means[0], gaussians.means) and torch.equal(quats[0], gaussians.quats)
    assert (means[1] - gaussians.means).abs().max() > 0.01
    torch.testing.assert_close(quats.norm(dim=-1), torch.ones(2, 30))


def test_frames_are_independent_of_how_many_are_asked() -> None:
    gaussians = asset()
    field = moving_field(gaussians)
    many = field(gaussians.means, torch.linspace(0, 1, 31)).translation
    few = field(gaussians.means, torch.linspace(0, 1, 16)).translation
    torch.testing.assert_close(many[::2], few)


def test_motion_is_continuous_in_time_and_space() -> None:
    gaussians = asset()
    field = moving_field(gaussians)
    near = field(gaussians.means, torch.tensor([0.4, 0.4001])).translation
    assert (near[1] - near[0]).abs().max() < 1e-3
    shifted = field(gaussians.means + 1e-4, torch.tensor([0.4])).translation
    assert (shifted[0] - near[0]).abs().max() < 1e-2


def test_every_parameter_gets_a_gradient_and_the_field_reloads() -> None:
    gaussians = asset()
    field = moving_field(gaussians)
    offsets = field(gaussians.means, torch.linspace(0, 1, 7))
    (offsets.translation.square().sum() + offsets.rotation[..., 1:].sum()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in field.parameters())
    loaded = MotionField.from_tensors(field.tensors(), field.metadata())
    assert torch.equal(
        loaded(gaussians.means, torch.tensor([0.7])).translation,
        field(gaussians.means, torch.tensor([0.7])).translation,
    )
