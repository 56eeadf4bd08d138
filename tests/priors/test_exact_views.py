"""Several views with a known score."""

from __future__ import annotations

import pytest
import torch

from stages.errors import BadInput
from stages.gaussians import Frames
from stages.objectives.sampling import sample_video
from stages.priors.exact_views import ExactViewsPrior
from stages.priors.parameterization import Parameterization
from stages.priors.prior import Viewpoint, sees_views
from stages.raster import choose
from tests.bench.exact import ddpm_betas
from tests.objectives.test_pixel_flow import ball


def prior_of(num_views: int) -> tuple[ExactViewsPrior, Viewpoint, torch.Tensor]:
    """A blob that goes up or to the right; its prior, and V cameras around it."""
    asset = ball()
    times = torch.linspace(0.0, 0.5, 4)[:, None, None]
    up = asset.means + times * torch.tensor([0.0, 1.0, 0.0])
    right = asset.means + times * torch.tensor([1.0, 0.0, 0.0])
    schedule = Parameterization.from_betas(ddpm_betas(), "epsilon")
    prior = ExactViewsPrior(asset, {"rise": up[None], "drift": right[None]}, schedule, size_px=16, num_views=num_views)
    first, *others = prior.cameras_around(asset, 30.0)
    return prior, Viewpoint(first, torch.ones(3), choose("cpu"), beside=tuple(others)), up


@pytest.mark.parametrize("num_views", [1, 4])
def test_a_sample_is_one_of_its_clips_in_all_views(num_views: int) -> None:
    prior, viewpoint, up = prior_of(num_views)
    assert sees_views(prior)
    condition = prior.condition(prior.encode_text(["it rises"]), prior.asset, viewpoint)
    still = prior.still_latents(prior.asset, viewpoint)
    assert still.shape == (1, num_views, 3, 4, 16, 16)
    sample = sample_video(prior, condition, None, torch.Generator().manual_seed(0), like=still)
    truth = prior.observe(Frames(prior.asset, up), viewpoint).latents
    torch.testing.assert_close(sample, truth, atol=1e-3, rtol=0)


def test_views_are_of_one_clip() -> None:
    """Noise that says "drift" in one view alone does not outvote three views that say "rise"."""
    prior, viewpoint, up = prior_of(4)
    condition = prior.condition(prior.encode_text([""]), prior.asset, viewpoint)
    rise = prior.observe(Frames(prior.asset, up), viewpoint).latents
    drift = prior.films(0, "drift")
    mixed = rise.clone()
    mixed[:, 1] = drift[:, 1]
    noisy = prior.parameterization.add_noise(mixed, torch.zeros_like(mixed), 400)
    x0 = prior.parameterization.to_x0(prior.predict(noisy, 400, condition), noisy, 400)
    torch.testing.assert_close(x0, rise, atol=1e-2, rtol=0)


def test_a_motion_that_the_bank_lacks() -> None:
    prior, _, _ = prior_of(1)
    with pytest.raises(BadInput, match="rise"):
        prior.encode_text(["a singing blob"])
