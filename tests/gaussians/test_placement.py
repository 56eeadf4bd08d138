"""Turned, mirrored, scaled assets against pictures: what moves with the camera looks the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from stages.cameras.camera import orbit_camera
from stages.errors import BadInput
from stages.gaussians import Gaussians
from stages.gaussians.transform import UPRIGHT, centre, looks_upside_down, mirror, rescale, turn_upright
from stages.raster import choose, render
from tests.gaussians.test_ply import splat


def _asset() -> Gaussians:
    """Long, strongly coloured Gaussians of degree 3 about a point that is not the origin."""
    asset = splat(3, count=12)
    return replace(
        asset,
        means=0.4 * asset.means + torch.tensor([0.1, 0.2, -0.1]),
        log_scales=0.6 * asset.log_scales - 2.0,
        logit_opacities=asset.logit_opacities + 1.0,
        sh=0.25 * asset.sh,
    )


def _picture(asset: Gaussians, turn: torch.Tensor | None = None) -> torch.Tensor:
    """[24, 24, 3] from a camera; ``turn`` [3, 3] turns the camera with the asset."""
    camera = orbit_camera(azimuth_deg=30, elevation_deg=20, radius=4.0, fov_deg=45, width=24, height=24)
    if turn is not None:
        viewmat = camera.viewmat.clone()
        viewmat[:3, :3] = viewmat[:3, :3] @ turn.T
        camera = replace(camera, viewmat=viewmat)
    return render(asset, [camera], choose("cpu", "reference")).rgb[0]


@pytest.mark.parametrize("up", UPRIGHT)
def test_a_turned_asset_seen_by_a_turned_camera_is_the_same_picture(up: str) -> None:
    """Positions, orientations and all harmonics go along."""
    asset = _asset()
    basis = replace(splat(0, count=3), means=torch.eye(3))
    turn = turn_upright(basis, up).means.T  # where the axes go
    torch.testing.assert_close(turn.det(), torch.tensor(1.0))
    picture = _picture(asset)
    assert picture.std() > 0.05
    torch.testing.assert_close(_picture(turn_upright(asset, up), turn), picture, atol=2e-4, rtol=0)


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_a_mirrored_asset_is_the_mirrored_picture(axis: str) -> None:
    """Seen by the mirrored camera, whose picture has left and right exchanged."""
    asset = _asset()
    signs = torch.ones(3)
    signs["xyz".index(axis)] = -1.0
    # M mirrors the world; turning the picture's x as well keeps the camera right-handed
    camera = orbit_camera(azimuth_deg=30, elevation_deg=20, radius=4.0, fov_deg=45, width=24, height=24)
    viewmat = camera.viewmat.clone()
    viewmat[:3, :3] = torch.diag(torch.tensor([-1.0, 1, 1])) @ viewmat[:3, :3] @ torch.diag(signs)
    viewmat[0, 3] *= -1.0
    seen = render(mirror(asset, axis), [replace(camera, viewmat=viewmat)], choose("cpu", "reference")).rgb[0]
    torch.testing.assert_close(seen.flip(1), _picture(asset), atol=2e-4, rtol=0)
    torch.testing.assert_close(mirror(mirror(asset, axis), axis).sh, asset.sh, atol=1e-5, rtol=0)


def test_scaled_and_centred() -> None:
    asset = _asset()
    large = rescale(asset, 3.0)
    torch.testing.assert_close(large.means, 3.0 * asset.means)
    torch.testing.assert_close(large.scales, 3.0 * asset.scales)
    low, high = centre(asset).bounds()
    torch.testing.assert_close(low, -high)
    for call in (lambda: rescale(asset, -1.0), lambda: mirror(asset, "w"), lambda: turn_upright(asset, "up")):
        with pytest.raises(BadInput):
            call()


def test_a_floor_overhead_is_noticed() -> None:
    floor = torch.rand(300, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([2.0, 0.05, 2.0])
    body = torch.rand(100, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor([0.4, -1.0, 0.4])
    asset = replace(splat(0, count=400), means=torch.cat([floor, body]))
    assert looks_upside_down(asset)
    assert not looks_upside_down(turn_upright(asset, "-y"))
