"""4D-SDS."""

from __future__ import annotations

import torch

from stages.objectives.clean_estimate import clean_estimate, clean_loss
from stages.priors.prior import Condition, Text
from tests.priors.test_exact_views import prior_of


def test_a_clip_of_the_bank_is_its_own_estimate() -> None:
    prior, viewpoint, _ = prior_of(4)
    condition = prior.condition(prior.encode_text(["it rises"]), prior.asset, viewpoint)
    clip = prior.films(0, "rise")
    eps = torch.randn(clip.shape, generator=torch.Generator().manual_seed(0))
    negative = Condition(Text(("",)), condition.picture)
    estimate = clean_estimate(prior, clip, eps, 100, condition, negative, guidance=6.0, rescale=0.25)
    assert float(clean_loss(clip, estimate)) < 1e-6


def test_another_clip_is_drawn_to_the_sentence_and_frame_0_is_left_out() -> None:
    prior, viewpoint, _ = prior_of(4)
    condition = prior.condition(prior.encode_text(["it rises"]), prior.asset, viewpoint)
    clip, other = prior.films(0, "rise"), prior.films(0, "drift").clone().requires_grad_()
    eps = torch.randn(clip.shape, generator=torch.Generator().manual_seed(0))
    estimate = clean_estimate(prior, other.detach(), eps, 100, condition, condition, guidance=1.0, rescale=0.25)
    torch.testing.assert_close(estimate, clip, atol=1e-4, rtol=0)
    clean_loss(other, estimate).backward()
    assert other.grad is not None
    assert float(other.grad[:, :, :, 0].abs().max()) == 0.0 < float(other.grad[:, :, :, 1:].abs().max())


def test_guidance_inflates_and_the_rescale_draws_back() -> None:
    prior, viewpoint, _ = prior_of(1)
    condition = prior.condition(prior.encode_text(["it rises"]), prior.asset, viewpoint)
    negative = prior.condition(prior.encode_text(["it drifts"]), prior.asset, viewpoint)
    clip = prior.films(0, "rise")
    eps = torch.zeros_like(clip)
    plain, guided, back = (
        clean_estimate(prior, clip, eps, 500, condition, negative, guidance=guidance, rescale=rescale)
        for guidance, rescale in ((1.0, 0.0), (6.0, 0.0), (6.0, 1.0))
    )
    assert float(guided.std()) > 1.05 * float(plain.std())
    torch.testing.assert_close(back.std(), plain.std(), rtol=1e-3, atol=0)
