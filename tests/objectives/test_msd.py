"""What the distillation gradients are, on a prior whose score is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from stages.objectives.inversion import ddim_invert
from stages.objectives.msd import distillation_loss, msd_gradient, noise_in, static_score, weight
from stages.objectives.sds import sds_gradient
from stages.priors.lora import add_adapter
from stages.priors.parameterization import Parameterization
from stages.priors.prior import Condition, Observation, VideoPrior
from tests.priors.test_embedded import tiny_prior
from tests.priors.test_exact import bank_prior


def told(prior: VideoPrior, prompt: str) -> Condition:
    return Condition(prior.encode_text([prompt]))


def test_the_loss_has_the_gradient_it_was_given() -> None:
    latents = torch.randn(1, 4, 3, 5, 5, requires_grad=True)
    gradient = torch.randn(1, 4, 3, 5, 5)
    distillation_loss(Observation(latents), gradient).backward()
    torch.testing.assert_close(latents.grad * latents.numel(), gradient, atol=1e-6, rtol=1e-5)


def test_msd_vanishes_when_both_branches_are_the_same() -> None:
    """The same clip, the same prompt and guidance 1: nothing is left to distil."""
    prior, clips = bank_prior()
    x, text = prior.encode(clips[1]), told(prior, "walk")
    static = static_score(prior, x, 500, text, inversion_steps=5)
    gradient = msd_gradient(prior, x, static, 500, text, text, guidance=1.0, inversion_steps=5)
    assert gradient.abs().max() == 0.0


def test_the_score_is_a_difference_of_clean_estimates() -> None:
    """With own noise: ``w alpha / sigma ((x^d - x0_hat^d) - (x^s - x0_hat^s))``, whatever noise the branches hold; the
    paper's difference of predictions also holds the difference of the noises."""
    prior, clips = bank_prior()
    moving, still = prior.encode(clips[1]), prior.encode(clips[1][:1].expand(3, -1, -1, -1))
    walk, nothing = told(prior, "walk"), told(prior, "jump")
    start = torch.randn(moving.shape, generator=torch.Generator().manual_seed(0), dtype=moving.dtype)
    parameterization, estimates, noises = prior.parameterization, [], []
    for x, text in ((moving, walk), (still, nothing)):
        x_t = ddim_invert(prior, x, 700, text, 3, start)
        estimates.append(x - parameterization.to_x0(prior.predict(x_t, 700, text), x_t, 700))
        noises.append(noise_in(parameterization, x_t, x, 700))
    alpha, sigma = parameterization.alpha_sigma(700, moving)
    gradients = {}
    for own_noise in (True, False):
        static = static_score(prior, still, 700, nothing, inversion_steps=3, start_noise=start, own_noise=own_noise)
        gradients[own_noise] = msd_gradient(
            prior,
            moving,
            static,
            700,
            walk,
            nothing,
            guidance=1.0,
            inversion_steps=3,
            start_noise=start,
            own_noise=own_noise,
        )
    scale = weight(parameterization, 700)
    torch.testing.assert_close(
        gradients[True], scale * alpha / sigma * (estimates[0] - estimates[1]), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(gradients[False] - gradients[True], scale * (noises[0] - noises[1]), atol=1e-6, rtol=0)


def test_for_eps_it_is_equation_5() -> None:
    """``w(t) (eps_theta(x^d_t, t, c) guided - eps_lora(x^s_t, t, c'))``, written out."""
    prior, clips = bank_prior()
    prior.parameterization = replace(prior.parameterization, kind="epsilon")
    moving, still = prior.encode(clips[1]), prior.encode(clips[1][:1].expand(3, -1, -1, -1))
    walk, nothing = told(prior, "walk"), told(prior, "jump")
    x_d, x_s = ddim_invert(prior, moving, 700, walk, 3), ddim_invert(prior, still, 700, nothing, 3)
    uncond, cond = prior.predict(x_d, 700, nothing), prior.predict(x_d, 700, walk)
    expected = weight(prior.parameterization, 700) * (uncond + 4.0 * (cond - uncond) - prior.predict(x_s, 700, nothing))
    static = static_score(prior, still, 700, nothing, inversion_steps=3, own_noise=False)
    gradient = msd_gradient(prior, moving, static, 700, walk, nothing, guidance=4.0, inversion_steps=3, own_noise=False)
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("own_noise", [True, False])
@pytest.mark.parametrize("straight", [True, False])
def test_what_a_model_predicts_does_not_matter(own_noise: bool, straight: bool) -> None:
    """The same estimates said as eps, v or flow, on a variance-preserving schedule or straight paths: one gradient."""
    gradients = []
    for kind in ("epsilon", "v_prediction", "flow"):
        prior, clips = bank_prior()
        schedule = Parameterization.rectified_flow(shift=3.0) if straight else prior.parameterization
        prior.parameterization = replace(schedule, kind=kind)  # type: ignore[arg-type]
        moving, still = prior.encode(clips[1]), prior.encode(clips[1][:1].expand(3, -1, -1, -1))
        walk, nothing = told(prior, "walk"), told(prior, "jump")
        static = static_score(prior, still, 700, nothing, inversion_steps=3, own_noise=own_noise)
        gradients.append(
            msd_gradient(
                prior, moving, static, 700, walk, nothing, guidance=4.0, inversion_steps=3, own_noise=own_noise
            )
        )
    assert gradients[0].abs().max() > 1e-3
    for gradient in gradients[1:]:
        torch.testing.assert_close(gradient, gradients[0], atol=1e-5, rtol=1e-4)


def test_sds_points_away_from_the_nearest_clip() -> None:
    """At low noise the descent direction, minus the gradient, leads from a disturbed clip back to the clip."""
    prior, clips = bank_prior()
    clean = prior.encode(clips[1])
    disturbed = clean + 0.3 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0), dtype=clean.dtype)
    text = told(prior, "walk")
    eps = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1), dtype=clean.dtype)
    gradient = sds_gradient(prior, disturbed, eps, 200, text, text, guidance=1.0)
    cosine = torch.nn.functional.cosine_similarity((-gradient).flatten(), (clean - disturbed).flatten(), dim=0)
    assert cosine > 0.99


def test_a_bad_value_does_not_reach_the_optimiser() -> None:
    prior, clips = bank_prior()
    x, text = prior.encode(clips[1]), told(prior, "walk")
    static = static_score(prior, x, 500, text, inversion_steps=5)
    static[0, 0, 0, 0, 0] = torch.nan
    gradient = msd_gradient(prior, x, static, 500, text, text, guidance=1.0, inversion_steps=5)
    assert gradient.isfinite().all() and gradient[0, 0, 0, 0, 0] == 0.0


def test_without_inversion_and_static_branch_it_is_sds() -> None:
    """What the ablations take away is all that MSD adds."""
    prior, clips = bank_prior()
    x, (walk, nothing) = prior.encode(clips[1]), (told(prior, "walk"), told(prior, "jump"))
    eps = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    bare = msd_gradient(
        prior, x, torch.zeros_like(x), 700, walk, nothing, guidance=7.5, inversion_steps=0, start_noise=eps
    )
    torch.testing.assert_close(bare, sds_gradient(prior, x, eps, 700, walk, nothing, guidance=7.5), atol=1e-9, rtol=0)


def test_a_static_prompt_instead_of_the_lora_asks_the_plain_model() -> None:
    prior = tiny_prior()
    x, text = torch.randn(1, 6, 4, 4, 4, generator=torch.Generator().manual_seed(0)), told(prior, "a goat")
    plain = static_score(prior, x, 600, text, inversion_steps=2)
    with torch.no_grad():
        for _, parameter in add_adapter(prior.denoiser, rank=2, alpha=2.0, seed=0):
            parameter.normal_(std=0.5)
    assert torch.equal(static_score(prior, x, 600, text, inversion_steps=2, adapted=False), plain)
    assert (static_score(prior, x, 600, text, inversion_steps=2) - plain).abs().max() > 1e-3
