"""Where pixels go, as a target for the Gaussians."""

from __future__ import annotations

import pytest
import torch

from stages.cameras import Camera, orbit_camera
from stages.gaussians import Gaussians
from stages.objectives.pixel_flow import guided_pixel_flow, pixel_flow_loss, predicted_pair
from stages.priors.load import load_prior
from stages.priors.prior import Condition, Observation, predicts_pixel_flow
from stages.raster import choose, render_flow
from tests.priors.test_exact import bank_prior

RASTERIZE = choose("cpu")


def ball(count: int = 80) -> Gaussians:
    generator = torch.Generator().manual_seed(0)
    return Gaussians(
        means=0.5 * torch.randn(count, 3, generator=generator),
        quats=torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(count, 4).contiguous(),
        log_scales=torch.full((count, 3), -2.0),
        logit_opacities=torch.full((count,), 1.0),
        sh=torch.zeros(count, 1, 3),
    )


def camera(azimuth_deg: float) -> Camera:
    return orbit_camera(azimuth_deg=azimuth_deg, elevation_deg=15.0, radius=4.0, fov_deg=40.0, width=32, height=32)


def limb_raised(gaussians: Gaussians) -> torch.Tensor:
    """[3, N, 3]: the right half goes up, more in each frame."""
    right = (gaussians.means[:, :1] > 0.0).float() * torch.tensor([0.0, 1.0, 0.0])
    return gaussians.means + torch.tensor([0.0, 0.2, 0.4])[:, None, None] * right


def test_a_body_that_steps_sideways_goes_as_many_pixels_everywhere() -> None:
    """A step of s along the right of the image goes f s / d pixels, for points at distance d."""
    gaussians, front = ball(), camera(0.0)
    flat = Gaussians(**{**vars(gaussians), "means": gaussians.means * torch.tensor([1.0, 0.0, 0.0])})
    moves, alpha = render_flow(flat, front, RASTERIZE, flat.means[None] + torch.tensor([0.1, 0.0, 0.0]))
    seen = alpha[..., 0] > 0.5
    flow = (moves / alpha.clamp(min=1e-6))[seen]
    expected = torch.tensor([float(front.K[0, 0]) * 0.1 / 4.0, 0.0])
    torch.testing.assert_close(flow, expected.expand_as(flow), atol=1e-4, rtol=0)


def test_the_loss_is_nothing_at_the_truth_and_leads_there() -> None:
    """Descent on the flow of four views brings the Gaussians to where the true motion has them."""
    gaussians = ball()
    truth, cameras = limb_raised(gaussians), [camera(azimuth) for azimuth in (0.0, 90.0, 180.0, 270.0)]
    targets = []
    for view in cameras:
        moves, alpha = render_flow(gaussians, view, RASTERIZE, truth)
        targets.append(moves / alpha.clamp(min=1e-6))
        assert pixel_flow_loss(Observation(None, moves, alpha), targets[-1]) < 1e-8
    means = gaussians.means.expand(3, -1, -1).clone().requires_grad_(True)
    optimiser = torch.optim.Adam([means], lr=0.02)
    for step in range(120):
        view = step % len(cameras)
        seen = Observation(None, *render_flow(gaussians, cameras[view], RASTERIZE, means))
        loss = pixel_flow_loss(seen, targets[view])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    away = (gaussians.means - truth).norm(dim=-1).mean()
    assert (means - truth).norm(dim=-1).mean() < 0.2 * away


def test_guidance_scales_what_the_words_change() -> None:
    prior = load_prior("embedded-video")
    assert predicts_pixel_flow(prior)
    clip, generator = prior.clip, torch.Generator().manual_seed(0)
    x = prior.encode(torch.rand(1, clip.height, clip.width, 3, generator=generator)).expand(-1, -1, 16, -1, -1)
    eps = torch.randn(x.shape, generator=generator)
    jump, still = prior.encode_text(["a jumping deer"]), prior.encode_text(["a static deer"])

    told = (Condition(text, x[:, :, 0]) for text in (jump, still))
    pair = predicted_pair(prior, x, eps, 970, *told)
    none, once, twice = (guided_pixel_flow(pair, scale) for scale in (0.0, 1.0, 2.0))
    assert once.shape == (16, clip.height, clip.width, 2)
    assert (once - none).abs().max() > 0.1
    torch.testing.assert_close(twice - once, once - none, atol=1e-4, rtol=0)


def test_priors_that_know_no_flow_are_told_apart() -> None:
    prior, _ = bank_prior()
    assert not predicts_pixel_flow(prior)


@pytest.mark.parametrize("still", [True, False])
def test_the_rest_pose_goes_nowhere(still: bool) -> None:
    gaussians = ball()
    means = gaussians.means[None] if still else limb_raised(gaussians)[-1:]
    moves, _ = render_flow(gaussians, camera(0.0), RASTERIZE, means)
    assert (moves.abs().max() < 1e-5) == still
