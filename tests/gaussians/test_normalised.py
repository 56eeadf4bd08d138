"""The normalised asset does not know the units of its file."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from stages.cameras import orbit_camera
from stages.gaussians import Frames, Gaussians
from stages.gaussians.normalised import Placement, normalised, snap_scales
from stages.gaussians.transform import rescale
from stages.raster import choose, render
from tests.gaussians.test_ply import splat

ASSET = snap_scales(replace(splat(1, count=200), log_scales=splat(1, count=200).log_scales - 3.0))


def test_the_longest_side_is_two_about_the_origin() -> None:
    low, high = normalised(rescale(ASSET, 37.0)).bounds()
    assert float((high - low).max()) == pytest.approx(2.0, rel=1e-6)
    torch.testing.assert_close(low, -high, atol=1e-6, rtol=0)


@pytest.mark.parametrize("power", [-20, -3, 1, 7, 24])
def test_powers_of_two_leave_the_same_bits(power: int) -> None:
    one, other = normalised(ASSET), normalised(rescale(ASSET, 2.0**power))
    for name in ("means", "quats", "log_scales", "logit_opacities", "sh"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


@pytest.mark.parametrize("factor", [1e-3, 100.0, 1e5])
def test_other_factors_leave_nearly_the_same(factor: float) -> None:
    one, other = normalised(ASSET), normalised(rescale(ASSET, factor))
    torch.testing.assert_close(one.means, other.means, atol=1e-6, rtol=0)
    torch.testing.assert_close(one.log_scales, other.log_scales, atol=1e-5, rtol=0)


def test_the_grid_is_far_finer_than_anybody_sees() -> None:
    before = splat(1, count=200).log_scales
    after = snap_scales(splat(1, count=200)).log_scales
    assert not torch.equal(before, after) and (before - after).abs().max() < 4e-6
    assert torch.equal(snap_scales(ASSET).log_scales, ASSET.log_scales)


def test_far_gaussians_do_not_count_for_the_size() -> None:
    means = ASSET.means.clone()
    means[:2] = 1e4
    far = replace(ASSET, means=means)
    assert far.body.sum() == 198 and ASSET.body.all()
    alone = ASSET.select(torch.arange(200) >= 2)
    assert Placement.of(far).size == Placement.of(alone).size


@pytest.mark.parametrize("count", [1, 2])
def test_a_body_without_extent_has_a_size(count: int) -> None:
    few = replace(ASSET.select(torch.zeros(count, dtype=torch.long)))
    small = normalised(few)
    assert small.means.isfinite().all() and float(small.scales.max()) == pytest.approx(1.0, rel=1e-4)


def test_frames_and_points_come_back() -> None:
    asset = replace(rescale(ASSET, 50.0), means=50.0 * ASSET.means + 7.0)
    placement = Placement.of(asset)
    inside = placement.normalised(asset)
    moved = Frames(inside, inside.means + torch.tensor([0.0, 0.1, 0.0]) * torch.rand(3, 200, 1))
    back = placement.file_frames(moved, asset)
    torch.testing.assert_close(placement.points(back.means), moved.means, atol=1e-5, rtol=0)
    assert torch.equal(back.quats, moved.quats) and torch.equal(back.rotations, moved.rotations)
    torch.testing.assert_close(back.scales, placement.size * moved.scales, atol=0, rtol=1e-5)


def test_a_camera_of_the_file_sees_the_same() -> None:
    asset = replace(rescale(ASSET, 50.0), means=50.0 * ASSET.means + 7.0)
    placement = Placement.of(asset)
    low, high = asset.bounds()
    camera = orbit_camera(
        azimuth_deg=30.0, elevation_deg=10.0, radius=300.0, fov_deg=40.0, width=24, height=24, target=0.5 * (low + high)
    )
    there = render(asset, [camera], choose("cpu")).rgb
    here = render(placement.normalised(asset), [placement.camera(camera)], choose("cpu")).rgb
    assert there.max() > 0.1
    torch.testing.assert_close(here, there, atol=2e-4, rtol=0)


def test_assets_of_thousandths_of_a_unit_are_seen() -> None:
    tiny: Gaussians = normalised(rescale(ASSET, 1e-4))
    camera = orbit_camera(azimuth_deg=0.0, elevation_deg=0.0, radius=4.0, fov_deg=40.0, width=24, height=24)
    assert render(tiny, [camera], choose("cpu")).alpha.max() > 0.5
