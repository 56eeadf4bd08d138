"""What the distillation gradients are, on a prior whose score is known."""

from __future__ import annotations

import torch

from stages.objectives.msd import distillation_loss, msd_gradient, static_score
from stages.objectives.sds import sds_gradient
from tests.priors.test_exact import bank_prior


def test_the_loss_has_the_gradient_it_was_given() -> None:
    latents = torch.randn(1, 4, 3, 5, 5, requires_grad=True)
    gradient = torch.randn(1, 4, 3, 5, 5)
    distillation_loss(latents, gradient).backward()
    torch.testing.assert_close(latents.grad, gradient, atol=1e-6, rtol=1e-5)


def test_msd_vanishes_when_both_branches_are_the_same() -> None:
    """The same clip, the same prompt and guidance 1: nothing is left to distil."""
    prior, clips = bank_prior()
    x, text = prior.encode(clips[1]), prior.encode_text(["walk"])
    static = static_score(prior, x, 500, text, 5)
    gradient = msd_gradient(prior, x, static, 500, text, text, 1.0, 5)
    assert gradient.abs().max() == 0.0


def test_sds_points_away_from_the_nearest_clip() -> None:
    """At low noise the descent direction, minus the gradient, leads from a disturbed clip back to the clip."""
    prior, clips = bank_prior()
    clean = prior.encode(clips[1])
    disturbed = clean + 0.3 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0), dtype=clean.dtype)
    text = prior.encode_text(["walk"])
    eps = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1), dtype=clean.dtype)
    gradient = sds_gradient(prior, disturbed, eps, 200, text, text, 1.0)
    cosine = torch.nn.functional.cosine_similarity((-gradient).flatten(), (clean - disturbed).flatten(), dim=0)
    assert cosine > 0.99


def test_a_bad_value_does_not_reach_the_optimiser() -> None:
    prior, clips = bank_prior()
    x, text = prior.encode(clips[1]), prior.encode_text(["walk"])
    static = static_score(prior, x, 500, text, 5)
    static[0, 0, 0, 0, 0] = torch.nan
    gradient = msd_gradient(prior, x, static, 500, text, text, 1.0, 5)
    assert gradient.isfinite().all() and gradient[0, 0, 0, 0, 0] == 0.0
