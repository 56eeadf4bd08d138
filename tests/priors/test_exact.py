"""The exact prior's score is the gradient of a known density, and knows its own clips."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stages.errors import BadInput
from stages.priors.exact import ExactPrior
from stages.priors.parameterization import Parameterization
from stages.priors.prior import Condition

BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2


def bank_prior(kind: str = "v_prediction") -> tuple[ExactPrior, Tensor]:
    clips = torch.rand(5, 3, 4, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    other = torch.rand(2, 3, 4, 4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return ExactPrior({"walk": clips, "jump": other}, Parameterization.from_betas(BETAS, kind)), clips  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("timestep", [100, 500, 900])
def test_eps_is_the_score_of_the_noised_bank(kind: str, timestep: int) -> None:
    """eps(x_t) = -sigma grad log p(x_t), by autograd through the mixture's log-density."""
    prior, clips = bank_prior(kind)
    p = prior.parameterization
    x = torch.randn(1, 3, 3, 4, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64).requires_grad_()
    alpha, sigma = p.alpha_sigma(timestep, x)
    modes = torch.cat([prior.encode(clip) for clip in clips])
    log_density = torch.logsumexp(-(x - alpha * modes).square().flatten(1).sum(1) / (2 * sigma**2), dim=0)
    (score,) = torch.autograd.grad(log_density, x)
    eps = p.to_eps(prior.predict(x.detach(), timestep, Condition(prior.encode_text(["walk"]))), x.detach(), timestep)
    torch.testing.assert_close(eps, -sigma * score, atol=1e-8, rtol=1e-6)


def test_a_slightly_noised_clip_is_recognised() -> None:
    prior, clips = bank_prior()
    x = prior.encode(clips[3])
    weights = prior.posterior_weights(prior.parameterization.add_noise(x, torch.randn_like(x), 50)[0], 50, "walk")
    assert weights.argmax() == 3 and weights.max() > 0.999


def test_the_null_prompt_is_the_mixture_and_pictures_select_a_view() -> None:
    prior, clips = bank_prior()
    pure_noise = torch.zeros(1, 3, 3, 4, 4, dtype=torch.float64)
    assert len(prior.posterior_weights(pure_noise[0], 999, "")) == 7
    pictures = {"walk": clips[:, 0]}
    seen = ExactPrior({"walk": clips}, prior.parameterization, pictures)
    weights = seen.posterior_weights(pure_noise[0], 999, "walk", seen.encode(clips[2:3, 0])[0, :, 0])
    assert weights[2] == 1.0


def test_an_unknown_prompt_is_refused() -> None:
    with pytest.raises(BadInput, match="no clips for 'fly'"):
        bank_prior()[0].encode_text(["fly"])


def test_coarse_latents_are_means_over_squares_and_know_their_clips() -> None:
    fine, clips = bank_prior()
    coarse = ExactPrior({"walk": clips}, fine.parameterization, latent_px=2)
    latents = coarse.encode(clips[3])
    assert latents.shape == (1, 3, 3, 2, 2)
    torch.testing.assert_close(latents[0, 1, 2, 1, 0], 2.0 * clips[3, 2, 2:4, 0:2, 1].mean() - 1.0)
    torch.testing.assert_close(coarse.clips_of("walk")[3:4], latents)
    torch.testing.assert_close(coarse.encode(coarse.decode(latents)), latents)


def test_the_coarser_the_latents_the_longer_a_clip_stays_undecided() -> None:
    fine, clips = bank_prior()
    coarse = ExactPrior({"walk": clips}, fine.parameterization, latent_px=4)
    sure = [float(prior.posterior_weights(prior.encode(clips[3])[0], 500, "walk")[3]) for prior in (fine, coarse)]
    assert sure[0] > 0.99 and sure[1] < 0.9
