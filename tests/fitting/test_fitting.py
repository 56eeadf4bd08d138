"""What fitting is made of: where Gaussians start, how those of no use move, and the loss against renders."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stages.cameras import orbit_camera
from stages.captures import Photo
from stages.fitting.parameters import assemble, make_optimiser, relocate, stored
from stages.fitting.photo_loss import PhotoLoss, before, measure, target_of
from stages.fitting.relocation import relocations, shared_out
from stages.fitting.start import gaussians_at, spread
from stages.gaussians.sh import sh0_to_rgb
from stages.raster import choose, render
from tests.gaussians.test_ply import splat


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("copies", [2, 3, 7])
def test_copies_look_like_the_one_they_replace(copies: int) -> None:
    """Kheradmand et al., Eq. 9: composited at the centre the opacity is kept, and along a line its integral."""
    opacity, scale = torch.tensor([0.6]), torch.tensor([[0.5, 1.0, 2.0]])
    new_opacity, new_scale = shared_out(opacity, scale, torch.tensor([copies]))
    centre = 1.0 - (1.0 - new_opacity) ** copies
    torch.testing.assert_close(centre, opacity)
    x = torch.linspace(-12.0, 12.0, 4001, dtype=torch.float64)[:, None]
    old = (opacity * torch.exp(-0.5 * (x / scale) ** 2)).sum(dim=0)
    new = (1.0 - (1.0 - new_opacity * torch.exp(-0.5 * (x / new_scale) ** 2)) ** copies).sum(dim=0)
    torch.testing.assert_close(new, old, rtol=1e-4, atol=0)


def test_one_copy_changes_nothing() -> None:
    opacity, scale = torch.tensor([0.3, 0.9]), torch.rand(2, 3, generator=generator()) + 0.1
    new_opacity, new_scale = shared_out(opacity, scale, torch.ones(2, dtype=torch.long))
    torch.testing.assert_close(new_opacity, opacity)
    torch.testing.assert_close(new_scale, scale)


def test_the_dead_move_to_the_opaque() -> None:
    opacities = torch.tensor([0.001, 0.9, 0.001, 0.0, 0.02])
    dead, chosen = relocations(opacities.repeat(200), generator())
    assert set((dead % 5).tolist()) == {0, 2, 3} and set((chosen % 5).tolist()) == {1, 4}
    share = float((chosen % 5 == 1).float().mean())
    assert share == pytest.approx(0.9 / 0.92, abs=0.03)  # in proportion to opacity
    for none in (torch.zeros(4), torch.ones(4)):
        assert all(len(index) == 0 for index in relocations(none, generator()))


def test_relocation_moves_everything_and_adam_forgets() -> None:
    asset = splat(1, count=30)
    asset.logit_opacities[:5] = -9.0
    parameters = {name: nn.Parameter(value.clone()) for name, value in stored(asset).items()}
    optimiser = make_optimiser(parameters, dict.fromkeys(parameters, 1e-3))
    sum(p.square().sum() for p in parameters.values()).backward()  # type: ignore[union-attr]
    optimiser.step()
    rest = torch.ones(30, dtype=torch.bool)
    relocate(parameters, optimiser, generator())
    for index in range(5):
        same = (parameters["means"] == parameters["means"][index]).all(dim=-1)
        assert int(same.sum()) >= 2
        rest &= ~same
        for parameter in parameters.values():
            assert not optimiser.state[parameter]["exp_avg"][same].any()
            assert torch.equal(parameter[same], parameter[index].expand_as(parameter[same]))
    assert 10 < int(rest.sum()) < 25
    assert optimiser.state[parameters["means"]]["exp_avg"][rest].abs().min() > 0
    assert float(torch.sigmoid(parameters["logit_opacities"].detach()).min()) > 0.005


def test_stored_tensors_come_back() -> None:
    asset = splat(2)
    back = assemble(stored(asset))
    for name in ("means", "log_scales", "logit_opacities", "sh"):
        assert torch.equal(getattr(back, name), getattr(asset, name)), name
    torch.testing.assert_close(back.quats, asset.quats)


@pytest.mark.parametrize("count", [3, 10, 25])
def test_spread_gives_as_many_as_asked(count: int) -> None:
    points = torch.rand(10, 3, generator=generator())
    colors = points.flip(-1)
    found, painted = spread(points, colors, count, generator(1))
    assert found.shape == painted.shape == (count, 3) and torch.isfinite(found).all()
    torch.testing.assert_close(painted, found.flip(-1))  # a colour goes with its point, also between two
    low, high = points.aminmax(dim=0)
    assert (found >= low).all() and (found <= high).all()


def test_the_start_is_as_wide_as_its_neighbours_are_far() -> None:
    axis = torch.arange(5.0)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
    colors = torch.rand(125, 3, generator=generator())
    start = gaussians_at(points, colors, 1, extent=100.0)
    torch.testing.assert_close(start.scales, torch.ones(125, 3))
    torch.testing.assert_close(sh0_to_rgb(start.sh[:, 0]), colors)
    assert start.sh_degree == 1 and not start.sh[:, 1:].any()
    equal = gaussians_at(torch.zeros(8, 3), colors[:8], 0, extent=1.0)
    assert torch.isfinite(equal.log_scales).all()  # points that coincide


def _photos_of(masked: bool) -> tuple:  # type: ignore[type-arg]
    asset = splat(0, count=60)
    asset.log_scales.fill_(-1.5)
    asset.sh.mul_(0.5)
    photos = []
    for azimuth in (0.0, 100.0, 200.0):
        camera = orbit_camera(azimuth_deg=azimuth, elevation_deg=10.0, radius=6.0, fov_deg=45.0, width=24, height=20)
        shown = render(asset, [camera], choose("cpu"))
        alpha = shown.alpha[0] if masked else torch.ones_like(shown.alpha[0])
        straight = (shown.rgb[0] / alpha.clamp(min=1e-6)).clamp(0.0, 1.0)
        rgba = (torch.cat([straight, alpha], dim=-1) * 255).round().to(torch.uint8)
        photos.append(Photo(name=f"{azimuth:g}.png", camera=camera, rgba=rgba))
    return asset, photos


@pytest.mark.parametrize("masked", [True, False])
def test_the_truth_has_the_smallest_loss(masked: bool) -> None:
    """The loss of what the photos were rendered from is rounding; moved or faded it grows, and gradients reach all."""
    asset, photos = _photos_of(masked)
    rasterizer = choose("cpu")
    loss_of = PhotoLoss(
        rasterizer=rasterizer, masked=masked, extent=1.0, ssim_weight=0.2, opacity_weight=0.0, scale_weight=0.0
    )
    background = torch.tensor([0.2, 0.7, 0.4]) if masked else torch.zeros(3)
    parameters = {name: nn.Parameter(value.clone()) for name, value in stored(asset).items()}
    loss, error = loss_of(assemble(parameters), photos, 1, background)
    assert loss.item() < 5e-3 and error.item() < 1e-5
    assert measure(asset, photos, masked, rasterizer)["psnr_db"] > 45.0
    for name in ("means", "logit_opacities", "log_scales", "sh0"):
        moved = assemble({**stored(asset), name: stored(asset)[name] + 0.3})
        assert loss_of(moved, photos, 1, background)[0].item() > 2.0 * loss.item(), name
    loss.backward()
    for name in ("means", "quats", "log_scales", "logit_opacities", "sh0"):
        assert parameters[name].grad is not None and parameters[name].grad.abs().max() > 0, name


def test_penalties_draw_opacity_and_size_down() -> None:
    asset, photos = _photos_of(True)
    zero = {"ssim_weight": 0.0, "opacity_weight": 0.0, "scale_weight": 0.0}

    def loss(**weights: float) -> float:
        of = PhotoLoss(rasterizer=choose("cpu"), masked=True, extent=2.0, **{**zero, **weights})
        return float(of(asset, photos[:1], 1, torch.zeros(3))[0])

    plain = loss()
    assert loss(opacity_weight=0.1) - plain == pytest.approx(0.1 * float(asset.opacities.mean()), rel=1e-3)
    assert loss(scale_weight=0.1) - plain == pytest.approx(0.1 * float(asset.scales.mean()) / 2.0, rel=1e-3)


def test_reduced_targets_keep_camera_and_mean() -> None:
    _, photos = _photos_of(True)
    camera, rgba = target_of(photos[0], 2, True, torch.device("cpu"))
    whole = target_of(photos[0], 1, True, torch.device("cpu"))[1]
    assert rgba.shape == (10, 12, 4) and (camera.width, camera.height) == (12, 10)
    torch.testing.assert_close(camera.K[:2], photos[0].camera.K[:2] / 2.0)
    torch.testing.assert_close(rgba.mean(dim=(0, 1)), whole.mean(dim=(0, 1)))
    white = before(whole, torch.ones(3))
    assert float(white[whole[..., 3] == 0].min()) == 1.0
