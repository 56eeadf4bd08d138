"""A stand-in keeps what its groups had in common, and looks the same from afar."""

from __future__ import annotations

from dataclasses import replace

import torch

from stages.assets import asset_path
from stages.cameras import sample_orbit_cameras
from stages.conventions import step_generator
from stages.gaussians import Gaussians
from stages.gaussians.formats.ply import read_ply
from stages.gaussians.spread import spread_points
from stages.gaussians.stand_in import axes, covariance, stand_in
from stages.geometry.rotations import quaternion_matrices
from stages.metrics.image import psnr
from stages.raster import choose, render
from tests.gaussians.test_ply import splat


def test_an_asset_that_is_small_enough_is_its_own() -> None:
    asset = splat(2, count=50)
    assert stand_in(asset, 50) is asset


def test_it_has_nearly_as_many_as_asked_and_no_more() -> None:
    asset = splat(0, count=5000)
    for most in (1, 100, 1000):
        assert 0.8 * most <= stand_in(asset, most).num_gaussians <= most


def test_one_gaussian_for_all_has_their_mean_covariance_and_colour() -> None:
    """Moments of the mixture, with weights by opacity times size; here all are equally large and opaque."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(40, 3, generator=generator)
    asset = replace(
        splat(1, count=40),
        means=means,
        log_scales=torch.tensor([-1.0, -2.0, -3.0]).expand(40, 3),
        logit_opacities=torch.zeros(40),
    )
    one = stand_in(asset, 1)
    torch.testing.assert_close(one.means[0], means.mean(dim=0))
    away = (means - means.mean(dim=0)).double()
    expected = covariance(asset).mean(dim=0) + away.T @ away / 40
    torch.testing.assert_close(covariance(one)[0], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(one.sh[0], asset.sh.mean(dim=0))


def test_axes_are_a_rotation_whatever_their_order() -> None:
    """Eigenvectors of either handedness give back the covariance, needles and discs too."""
    half = torch.randn(200, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    half[:100] *= torch.tensor([1.0, 1.0, 1e-3], dtype=torch.float64)
    given = half @ half.mT
    handed = torch.linalg.det(torch.linalg.eigh(given)[1])
    assert float(handed.min()) < 0.0 < float(handed.max())
    scales, quats = axes(given)
    again = quaternion_matrices(quats) * scales[:, None]
    torch.testing.assert_close(again @ again.mT, given, rtol=0, atol=1e-8)


def test_two_that_lie_on_each_other_become_the_same_one_again() -> None:
    """Twice half the opacity is the opacity; the shape does not change."""
    asset = splat(0, count=1)
    asset = replace(asset, logit_opacities=torch.logit(torch.tensor([0.4])))
    far = replace(asset, means=asset.means + 100.0)
    both = Gaussians(**{name: torch.cat([getattr(asset, name)] * 2 + [getattr(far, name)]) for name in vars(asset)})
    merged = stand_in(both, 2)
    torch.testing.assert_close(covariance(merged)[0], covariance(asset)[0], atol=1e-6, rtol=1e-4)
    assert float(merged.opacities[0]) == float(merged.opacities[0].clamp(0.39, 0.41))  # no more than either had


def test_from_afar_it_looks_the_same() -> None:
    """At 64 px, as a prior sees it; half the Gaussians, and a picture that is wrong by a twentieth."""
    asset = read_ply(asset_path("splats", "deer.ply"))
    low, high = asset.bounds()
    half, white = stand_in(asset, asset.num_gaussians // 2), torch.ones(3)
    for camera in sample_orbit_cameras(3, low=low, high=high, width=64, height=64, generator=step_generator(0, 0)):
        seen, meant = (render(g, [camera], choose("cpu"), background=white).rgb[0] for g in (half, asset))
        assert psnr(seen, meant) > 26.0


def test_a_few_far_gaussians_do_not_coarsen_the_body() -> None:
    """Two floaters ten thousand times as far out: the body is merged as finely as without them, and its points are
    where they were."""
    asset = splat(0, count=2000)
    means = asset.means.clone()
    means[:2] = torch.tensor([[3e4, 0.0, 0.0], [0.0, -3e4, 1e4]])
    littered = replace(asset, means=means)
    coarse, alone = stand_in(littered, 500), stand_in(littered.select(littered.body), 500)
    assert 400 <= int(coarse.body.sum()) <= 500 and 400 <= alone.num_gaussians <= 500
    one = stand_in(littered, 1)
    assert one.num_gaussians == 1
    chosen = spread_points(littered, 64, 0)
    assert len(chosen) == 64 and bool(littered.body[chosen].all())
