"""Inversion walks the ODE backwards: denoising walks it home again."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.objectives.guidance import guided_prediction
from stages.objectives.inversion import ddim_invert, inversion_timesteps
from stages.objectives.sampling import ddim_denoise
from stages.priors.exact import ExactPrior
from stages.priors.prior import Condition, Text
from tests.priors.test_exact import bank_prior

NOTHING = Condition(Text(("",)))


def test_timesteps_end_where_asked() -> None:
    assert inversion_timesteps(979, 5) == [195, 391, 587, 783, 979]
    assert inversion_timesteps(2, 5) == [0, 1, 2]


def test_an_inversion_then_denoised_returns_the_input() -> None:
    """On a density with full support the only error is Euler's: it falls as one over the number of steps.

    (A finite bank is no such density: a latent between two of its clips comes home to one of them.)
    """
    prior, clips = bank_prior()
    x0 = prior.encode(clips[0])
    smooth = _Normal(prior, deviation=0.5)
    errors = []
    for steps in (10, 400):
        x_t = ddim_invert(smooth, x0, 600, NOTHING, steps)
        errors.append(float((ddim_denoise(smooth, x_t, 600, NOTHING, steps) - x0).abs().max()))
    assert errors[1] < 0.02 and errors[1] < 0.15 * errors[0]


class _Normal(ExactPrior):
    """The exact score of latents drawn from N(0, deviation^2)."""

    def __init__(self, like: ExactPrior, deviation: float) -> None:
        self.parameterization, self.clip, self.variance = like.parameterization, like.clip, deviation**2

    def predict(self, latents: Tensor, timestep: int, condition: Condition) -> Tensor:
        alpha, sigma = self.parameterization.alpha_sigma(timestep, latents)
        mean = alpha * self.variance / (alpha**2 * self.variance + sigma**2) * latents
        return self.parameterization.from_x0(mean, latents, timestep)


def test_inversion_of_a_clip_of_the_bank_comes_home_exactly() -> None:
    prior, clips = bank_prior()
    told, x0 = Condition(prior.encode_text(["walk"])), prior.encode(clips[2])
    x_t = ddim_invert(prior, x0, 300, told, 20)
    torch.testing.assert_close(ddim_denoise(prior, x_t, 300, told, 20), x0, atol=1e-6, rtol=0)


def test_inversion_is_deterministic_and_has_no_graph() -> None:
    prior, clips = bank_prior()
    told, x0 = Condition(prior.encode_text(["walk"])), prior.encode(clips[0]).requires_grad_()
    first, second = (ddim_invert(prior, x0, 700, told, 5) for _ in range(2))
    assert torch.equal(first, second) and not first.requires_grad


def test_guidance_one_is_the_conditional_prediction() -> None:
    prior, _ = bank_prior()
    x = torch.randn(1, 3, 3, 4, 4, dtype=torch.float64)
    cond, null = (Condition(prior.encode_text([prompt])) for prompt in ("walk", ""))
    plain = prior.predict(x, 600, cond)
    torch.testing.assert_close(guided_prediction(prior, x, 600, cond, null, 1.0), plain)
    uncond = prior.predict(x, 600, null)
    torch.testing.assert_close(guided_prediction(prior, x, 600, cond, null, 3.0), uncond + 3.0 * (plain - uncond))


def test_no_steps_add_the_noise_itself() -> None:
    prior, clips = bank_prior()
    x0, eps = prior.encode(clips[0]), torch.randn(1, 3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    eps = eps[..., : x0.shape[-2], : x0.shape[-1]].to(x0)
    noisy = ddim_invert(prior, x0, 700, Condition(prior.encode_text(["walk"])), 0, eps)
    assert torch.equal(noisy, prior.parameterization.add_noise(x0, eps, 700))
