"""The two forms of score distillation: the same direction, and what is left of each in pure noise."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from stages.objectives.sds import sds_gradient
from stages.priors.exact import ExactPrior
from stages.priors.parameterization import Parameterization
from stages.priors.prior import Condition
from tests.priors.test_exact import bank_prior


class FixedPrior:
    """Predicts the same whatever it is shown, as a model that predicts v down to zero signal-to-noise may."""

    denoiser = None

    def __init__(self, parameterization: Parameterization, prediction: Tensor) -> None:
        self.parameterization, self.prediction = parameterization, prediction

    def predict(self, latents: Tensor, timestep: int, condition: Condition) -> Tensor:
        return self.prediction


def pure_noise_at_the_end() -> Parameterization:
    """A variance-preserving schedule whose last alpha is exactly 0 (Lin et al. 2024)."""
    alphas = torch.linspace(1.0, 0.0, 1000, dtype=torch.float64)
    return Parameterization(kind="v_prediction", alphas=alphas, sigmas=(1.0 - alphas**2).sqrt())


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("timestep", [20, 400, 700, 980])
@pytest.mark.parametrize("guidance", [1.0, 7.5])
def test_the_forms_differ_by_sigma_over_alpha(kind: str, timestep: int, guidance: float) -> None:
    prior, clips = bank_prior()
    assert isinstance(prior, ExactPrior)
    prior.parameterization = replace(prior.parameterization, kind=kind)  # type: ignore[arg-type]
    x = prior.encode(clips[1])
    x = x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    eps = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    walk, nothing = (Condition(prior.encode_text([said])) for said in ("walk", "jump"))
    found = [sds_gradient(prior, x, eps, timestep, walk, nothing, guidance=guidance, form=f) for f in ("eps", "x0")]  # type: ignore[arg-type]
    alpha, sigma = prior.parameterization.alpha_sigma(timestep, x)
    assert found[0].abs().max() > 1e-4
    torch.testing.assert_close(found[1], sigma / alpha * found[0], atol=1e-9, rtol=1e-6)


def test_in_pure_noise_only_the_form_of_clean_estimates_says_something() -> None:
    """There ``v = -x0``, so that the gradient is ``x + v``."""
    parameterization = pure_noise_at_the_end()
    x, eps, v = (torch.randn(1, 4, 3, 5, 5, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
    prior = FixedPrior(parameterization, v)
    text = Condition(None)  # type: ignore[arg-type]
    last = parameterization.num_timesteps - 1
    assert parameterization.alphas[last] == 0.0
    found = {
        form: sds_gradient(prior, x, eps, last, text, text, guidance=1.0, form=form)  # type: ignore[arg-type]
        for form in ("eps", "x0")
    }
    assert found["eps"].abs().max() == 0.0
    torch.testing.assert_close(found["x0"], x + v)
