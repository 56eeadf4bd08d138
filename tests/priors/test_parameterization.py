"""x0, eps, v and flow are four views of the same noisy latent."""

from __future__ import annotations

import pytest
import torch

from stages.priors.parameterization import Parameterization

BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2


def schedules() -> dict[str, Parameterization]:
    return {
        "epsilon": Parameterization.from_betas(BETAS, "epsilon"),
        "v_prediction": Parameterization.from_betas(BETAS, "v_prediction"),
        "flow": Parameterization.rectified_flow(1000, shift=3.0),
    }


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "flow"])
@pytest.mark.parametrize("timestep", [0, 10, 500, 990])
def test_a_true_prediction_gives_back_x0_and_eps(kind: str, timestep: int) -> None:
    p = schedules()[kind]
    generator = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 2, 3, 4, 5, 5, generator=generator, dtype=torch.float64)
    x_t = p.add_noise(x0, eps, timestep)
    prediction = p.target(x0, eps, timestep)
    # float64 round-off is amplified by 1 / alpha, at most 15 (VP) or 300 (flow) at these timesteps
    torch.testing.assert_close(p.to_x0(prediction, x_t, timestep), x0, atol=1e-11, rtol=1e-11)
    torch.testing.assert_close(p.to_eps(prediction, x_t, timestep), eps, atol=1e-11, rtol=1e-11)
    torch.testing.assert_close(p.from_x0(x0, x_t, timestep), prediction, atol=1e-9, rtol=1e-9)


def test_v_and_flow_stay_finite_without_signal() -> None:
    """At zero SNR eps says nothing about x0; v is -x0 and flow is eps - x0, and both give x0 back."""
    x0, eps = torch.randn(2, 1, 3, 2, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    zero_snr = torch.tensor([1.0, 0.0], dtype=torch.float64)
    v = Parameterization(kind="v_prediction", alphas=zero_snr, sigmas=1.0 - zero_snr)
    torch.testing.assert_close(v.to_x0(v.target(x0, eps, 1), eps, 1), x0)
    flow = Parameterization.rectified_flow(10)
    assert flow.alphas[-1] == 0.0
    torch.testing.assert_close(flow.to_x0(flow.target(x0, eps, 9), eps, 9), x0)


def test_minus_one_is_clean_and_batches_of_timesteps_broadcast() -> None:
    p = schedules()["v_prediction"]
    x0, eps = torch.randn(2, 2, 3, 4, 5, 5, generator=torch.Generator().manual_seed(2))
    assert torch.equal(p.add_noise(x0, eps, -1), x0)
    both = p.add_noise(x0, eps, torch.tensor([3, 700]))
    torch.testing.assert_close(both[1:], p.add_noise(x0[1:], eps[1:], 700))


def test_schedule_agrees_with_diffusers() -> None:
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    x0, eps = torch.randn(2, 1, 3, 4, 5, 5, generator=torch.Generator().manual_seed(3))
    expected = theirs.add_noise(x0, eps, torch.tensor([421]))
    torch.testing.assert_close(schedules()["epsilon"].add_noise(x0, eps, 421), expected, atol=1e-5, rtol=1e-5)
