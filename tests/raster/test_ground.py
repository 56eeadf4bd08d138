"""The ground: where rays meet it, what colour it has there, its shadow, and what it does as a background."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from stages.cameras import Camera, orbit_camera
from stages.gaussians import Frames, Gaussians
from stages.raster import choose, cpu, render
from stages.raster.ground import CELLS_A_TILE, Ground, above_ground, ground_layer, look_down, shadow_grid
from tests.gaussians.test_ply import splat
from tests.raster.scenes import image_and_gradients, scene

WHITE = torch.ones(3)
PLAIN = Ground(height=-1.0, tile=0.5, shadow=0.0, fade=(1e6, 2e6))


def camera(elevation_deg: float = 25.0, side: int = 64, azimuth_deg: float = 30.0) -> Camera:
    return orbit_camera(
        azimuth_deg=azimuth_deg, elevation_deg=elevation_deg, radius=5.0, fov_deg=50.0, width=side, height=side
    )


def blob(*means: tuple[float, float, float], size: float = 0.2) -> Gaussians:
    """Opaque round Gaussians."""
    asset = splat(0, count=len(means))
    return replace(
        asset,
        means=torch.tensor(means, dtype=torch.float32),
        log_scales=torch.full((len(means), 3), size).log(),
        logit_opacities=torch.full((len(means),), 5.0),
    )


def test_a_pixel_shows_the_tile_that_its_ray_meets() -> None:
    """Straight from the definition: the point that a layer's pixel shows projects into the middle of that pixel."""
    seen = look_down(camera(15.0), PLAIN, WHITE)
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    x, z = seen.points.unbind(dim=-1)
    pixels = camera(15.0).project(torch.stack([x, torch.full_like(x, PLAIN.height), z], dim=-1))
    below = seen.kept > 0.0
    assert 0.5 < below.float().mean() < 1.0  # the horizon is in the picture
    torch.testing.assert_close(pixels[below], torch.stack([columns, rows], dim=-1)[below] + 0.5, atol=2e-2, rtol=0)
    light, dark = (torch.tensor(color) for color in PLAIN.colors)
    even = ((x / PLAIN.tile).floor() + (z / PLAIN.tile).floor()) % 2 == 0
    near = rows > 54  # where tiles are large
    for tiles, color in ((even, light), (~even, dark)):  # all but pixels on an edge
        torch.testing.assert_close(seen.color[near & tiles].median(dim=0).values, color)


def test_the_filter_is_the_mean_over_the_pixel() -> None:
    """Against 16 x 16 points a pixel; the box that is averaged lies along the tiles, the pixel's footprint does not."""
    fine = look_down(camera(side=1024), PLAIN, WHITE).color
    mean = fine.reshape(64, 16, 64, 16, 3).mean(dim=(1, 3))
    error = (look_down(camera(), PLAIN, WHITE).color - mean).abs()[16:]
    contrast = PLAIN.colors[0][0] - PLAIN.colors[1][0]
    assert float(error.mean()) < 0.1 * contrast


def test_far_away_it_is_grey_and_then_the_plain_background() -> None:
    far = look_down(camera(elevation_deg=5.0, side=128), PLAIN, WHITE)
    strip = far.color[far.kept[:, 0] > 0.0][2:4]
    assert float(strip.std(dim=(0, 1)).amax()) < 0.03 * (PLAIN.colors[0][0] - PLAIN.colors[1][0]) + 0.005
    layer = ground_layer(Frames.at_rest(blob((0, 0, 0))), [camera(5.0)], replace(PLAIN, fade=(2.0, 8.0)), 0.5 * WHITE)
    horizon = int((look_down(camera(5.0), PLAIN, WHITE).kept[:, 0] > 0.0).float().argmax())
    assert torch.equal(layer[0, : horizon + 2], torch.full((horizon + 2, 64, 3), 0.5))
    assert float((layer[0, -1] - 0.5).abs().amin()) > 0.1


def test_from_below_there_is_none() -> None:
    layer = ground_layer(Frames.at_rest(blob((0, 0, 0))), [camera(elevation_deg=-40.0)], PLAIN, 0.3 * WHITE)
    assert torch.equal(layer, torch.full((1, 64, 64, 3), 0.3))


def test_it_lies_under_the_lowest_point_of_the_body() -> None:
    asset = splat(1, count=40)
    ground = Ground.under(asset)
    assert ground.height == float(asset.means[asset.body][:, 1].min())
    assert above_ground(Frames.at_rest(asset, 2), ground.height).shown[:, asset.body].all()  # type: ignore[index]


def test_the_shadow_lies_under_the_body_and_fades_as_it_rises() -> None:
    ground = Ground(height=0.0, tile=0.5)
    shades = []
    for height in (0.0, 0.3, 1.0, 4.0):
        grid, corner = shadow_grid(Frames.at_rest(blob((1.0, height, -2.0))), 0, ground)
        z, x = divmod(int(grid.argmax()), grid.shape[1])
        cell = ground.tile / CELLS_A_TILE
        places = corner + cell * (torch.tensor([x, z]) + 0.5)
        torch.testing.assert_close(places, torch.tensor([1.0, -2.0]), atol=1.5 * cell, rtol=0)
        shades.append(float(grid.amax()))
        assert float(grid.amin()) >= 0.0 and shades[-1] <= 1.0
    assert shades[0] > 0.5 and shades == sorted(shades, reverse=True) and shades[-1] < 0.1


def test_what_is_below_casts_no_shadow() -> None:
    grid, _ = shadow_grid(Frames.at_rest(blob((0.0, -0.1, 0.0))), 0, Ground(height=0.0, tile=0.5))
    assert float(grid.amax()) == 0.0


def test_frames_do_not_know_of_each_other() -> None:
    """The same layer whichever frames are drawn together; at rest the same in every frame."""
    asset, ground = blob((0.1, -0.9, 0.0), (0.4, -0.5, 0.3)), Ground(height=-1.0, tile=0.5)
    moves = torch.linspace(0.0, 0.7, 4)[:, None, None] * torch.tensor([1.0, 0.0, 0.3])
    frames = Frames(asset, asset.means + moves)
    cameras = [camera()] * 4
    together = ground_layer(frames, cameras, ground, WHITE)
    apart = [ground_layer(frames.select(slice(t, t + 1)), cameras[:1], ground, WHITE) for t in range(4)]
    assert torch.equal(together, torch.cat(apart)) and not torch.equal(together[0], together[3])
    still = ground_layer(Frames.at_rest(asset, 4), cameras, ground, WHITE)
    assert torch.equal(still[0], still[3])


def test_no_gradient_goes_through_it() -> None:
    asset = blob((0.0, -0.8, 0.0))
    means = asset.means[None].clone().requires_grad_()
    layer = ground_layer(Frames(asset, means), [camera()], Ground(height=-1.0, tile=0.5), WHITE)
    assert not layer.requires_grad


@pytest.mark.parametrize("name", ["cpu", "reference"])
def test_it_is_what_is_seen_past_the_splat(name: str) -> None:
    asset = splat(1, count=12)
    frames, ground = Frames.at_rest(asset, 2), Ground.under(asset)
    cameras = [camera(side=24), camera(side=24, azimuth_deg=70.0)]
    layer = ground_layer(frames, cameras, ground, WHITE)
    bare, over = (render(frames, cameras, choose("cpu", name), background=behind) for behind in (None, layer))
    torch.testing.assert_close(over.rgb, bare.rgb + (1.0 - bare.alpha) * layer)


def test_opacities_that_frames_share_get_the_sum_of_their_gradients() -> None:
    arguments = scene("soft")
    shared = image_and_gradients(cpu.rasterize, arguments, torch.float64)
    arguments["opacities"] = arguments["opacities"].expand(2, -1)
    each = image_and_gradients(cpu.rasterize, arguments, torch.float64)
    assert torch.equal(each["rgb"], shared["rgb"])
    torch.testing.assert_close(each["opacities"].sum(dim=0), shared["opacities"])


@pytest.mark.parametrize("name", ["cpu", "reference"])
def test_a_hidden_gaussian_is_as_if_it_were_not_there(name: str) -> None:
    asset = splat(1, count=12)
    moves = torch.tensor([0.0, -0.4])[:, None, None] * torch.tensor([0.0, 1.0, 0.0])
    means = (asset.means + moves).requires_grad_()
    given = Frames.at_rest(asset, 2)
    frames = Frames(asset, means, (given.rotations, given.quats, given.scales))
    height = float(asset.means[:, 1].median()) - 0.4
    kept = means[1, :, 1] >= height
    assert 0 < int(kept.sum()) < 12
    cameras = [camera(side=24)] * 2
    image = render(above_ground(frames, height), cameras, choose("cpu", name), background=WHITE).rgb
    left = replace(asset, means=means[1].detach()).select(kept)
    alone = render(left, cameras[:1], choose("cpu", name), background=WHITE).rgb
    torch.testing.assert_close(image[1], alone[0])
    image.square().sum().backward()
    assert means.grad is not None
    assert float(means.grad[1][~kept].abs().max()) == 0.0 < float(means.grad[1][kept].abs().max())
