"""A ground in what a prior sees: behind every frame, and behind the asset at rest, so that it is no difference."""

from __future__ import annotations

from dataclasses import replace

import torch

from stages.distilling.viewpoints import ViewsConfig, sample_viewpoints, tell_of_ground
from stages.events import Caution, Event, Note
from stages.gaussians import Frames
from stages.priors.find import EMBEDDED, POINTS
from stages.priors.load import load_prior
from stages.priors.prior import ClipShape, pictures, still
from stages.raster import choose, render
from stages.raster.ground import Ground
from tests.gaussians.test_ply import splat

CLIP = ClipShape(num_frames=3, height=20, width=24)
ASSET = replace(splat(1, count=30), log_scales=splat(1, count=30).log_scales - 1.5)


def test_the_same_picture_is_behind_the_moving_and_the_resting_asset() -> None:
    rasterizer = choose("cpu")
    config = ViewsConfig(num_cameras=2, background=0.8)
    plain = sample_viewpoints(ASSET, CLIP, config, rasterizer, seed=0)
    over = sample_viewpoints(ASSET, CLIP, replace(config, ground=True), rasterizer, seed=0)
    for seen, grounded in zip(plain, over, strict=True):
        assert torch.equal(seen.camera.viewmat, grounded.camera.viewmat)
        assert seen.background.shape == (3,) and grounded.background.shape == (20, 24, 3)
        assert grounded.ground_height == Ground.under(ASSET).height
        resting = still(ASSET, grounded)
        assert torch.equal(pictures(Frames.at_rest(ASSET, 3), grounded), resting.expand(3, -1, -1, -1))
        assert float((resting - still(ASSET, seen)).abs().max()) > 0.05
        lifted = Frames(ASSET, ASSET.means + torch.tensor([0.0, 100.0, 0.0]) * torch.tensor([0.0, 1.0])[:, None, None])
        gone = pictures(lifted, grounded)[1]
        torch.testing.assert_close(gone, grounded.background)  # the shadow stays: the layer is fixed


def test_without_a_ground_nothing_is_hidden() -> None:
    [seen] = sample_viewpoints(ASSET, CLIP, ViewsConfig(num_cameras=1), choose("cpu"), seed=0)
    sunk = Frames(ASSET, ASSET.means[None] - torch.tensor([0.0, 0.3, 0.0]))
    direct = render(sunk, [seen.camera], seen.rasterizer, background=seen.background).rgb
    assert torch.equal(pictures(sunk, seen), direct)
    low = replace(seen, ground_height=Ground.under(ASSET).height)
    assert not torch.equal(pictures(sunk, low), direct)


def test_priors_that_do_not_know_a_ground_are_named() -> None:
    for name, kind in ((POINTS, Note), (EMBEDDED, Caution)):
        said: list[Event] = []
        prior = load_prior(name, "cpu")
        tell_of_ground(prior, ViewsConfig(), said.append)
        assert not said
        tell_of_ground(prior, ViewsConfig(ground=True), said.append)
        assert [type(event) for event in said] == [kind]
