"""Sampling of views, with a tiny MV-VDM: diffusers' own steps and FreeInit, frame 0, seeds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from diffusers.pipelines.free_init_utils import FreeInitMixin
from torch import Tensor

from stages.objectives.freeinit import butterworth, mixed
from stages.objectives.guidance import guided_prediction
from stages.objectives.sample_views import latent_shape, sample_views
from stages.priors.load import load_prior
from stages.priors.multiview import MVVDMPrior
from stages.priors.prior import Condition
from tests.priors.tiny_mvvdm import save_tiny

FRAMES = 5


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> MVVDMPrior:
    found = load_prior(str(save_tiny(tmp_path_factory.mktemp("mvvdm"))), num_frames=FRAMES, size_px=8)
    assert isinstance(found, MVVDMPrior)
    return found


def told(prior: MVVDMPrior) -> list[Condition]:
    generator = torch.Generator().manual_seed(5)
    pictures, cameras = torch.rand(4, 8, 8, 3, generator=generator), torch.eye(4).repeat(4, 1, 1)
    return [prior.given(text, pictures, cameras) for text in prior.encode_text(["a deer walks", ""]).split()]


def sampled(prior: MVVDMPrior, seed: int = 0, **options: Any) -> Tensor:
    condition, negative = told(prior)
    return sample_views(prior, condition, negative, torch.Generator().manual_seed(seed), **options)


@torch.no_grad()
def as_diffusers(prior: MVVDMPrior, steps: int, guidance: float, rounds: int) -> Tensor:
    """Its scheduler and its FreeInit, with frame 0 put back after every step as Animate3D's pipeline does."""
    condition, negative = told(prior)
    generator = torch.Generator().manual_seed(0)
    scheduler = DDIMScheduler.from_config(prior.scheduler_config)
    free: Any = FreeInitMixin()
    free.scheduler = scheduler
    free.enable_free_init(num_iters=rounds)
    x = torch.randn(latent_shape(prior, condition), generator=generator)
    assert condition.picture is not None
    first = condition.picture[:, :, :, None]
    rest = x[0, :, :, 1:]
    for index in range(rounds):
        if index:
            fresh = torch.randn(x.shape, generator=generator)[0, :, :, 1:]
            noised = scheduler.add_noise(rest, free._free_init_initial_noise, torch.full((4,), 999))
            kept = free._get_free_init_freq_filter((1, *rest.shape[1:]), "cpu", "butterworth", 4, 0.25, 0.25)
            rest = free._apply_freq_filter(noised, fresh, kept)
        else:
            free._free_init_initial_noise = rest.clone()
        scheduler.set_timesteps(steps)
        x = torch.cat([first, rest[None]], dim=3)
        for timestep in scheduler.timesteps:
            said = guided_prediction(prior, x, int(timestep), condition, negative, guidance)
            x = torch.cat([first, scheduler.step(said, timestep, x).prev_sample[:, :, :, 1:]], dim=3)
        rest = x[0, :, :, 1:]
    return x


@pytest.mark.parametrize("rounds", [1, 3])
def test_samples_as_diffusers_does(prior: MVVDMPrior, rounds: int) -> None:
    ours = sampled(prior, steps=4, guidance=1.5, freeinit=rounds)
    expected = as_diffusers(prior, 4, 1.5, rounds)
    scale = float(expected.abs().max())
    torch.testing.assert_close(ours / scale, expected / scale, atol=1e-4, rtol=1e-3)


def test_frame_0_is_the_given_picture(prior: MVVDMPrior) -> None:
    picture = told(prior)[0].picture
    sample = sampled(prior, steps=3, freeinit=2)
    assert picture is not None and sample.shape == (1, 4, 4, FRAMES, 4, 4)
    torch.testing.assert_close(sample[:, :, :, 0], picture, atol=1e-3, rtol=1e-3)


def test_the_same_seed_and_another(prior: MVVDMPrior) -> None:
    counted: list[int] = []
    first = sampled(prior, steps=2, freeinit=2, each=counted.append)
    assert counted == [1, 2, 3, 4]
    assert torch.equal(first, sampled(prior, steps=2, freeinit=2))
    assert not torch.equal(first, sampled(prior, seed=1, steps=2, freeinit=2))


def test_the_filter_keeps_what_is_slow() -> None:
    """All of the mean, nothing of what alternates; half at the stop frequency; even, as a filter of real numbers is."""
    kept = butterworth((8, 8, 8))
    assert kept.shape == (8, 8, 8) and kept[4, 4, 4] == 1.0 and kept[0, 4, 4] < 1e-4
    assert kept[5, 4, 4] == pytest.approx(0.5) and kept[3, 4, 4] == pytest.approx(0.5)
    constant, alternating = torch.ones(4, 4, 4), torch.ones(4, 4, 4)
    alternating[1::2] = -1.0
    torch.testing.assert_close(mixed(constant, torch.zeros(4, 4, 4)), constant, atol=1e-5, rtol=0.0)
    torch.testing.assert_close(mixed(torch.zeros(4, 4, 4), alternating), alternating, atol=1e-4, rtol=0.0)


def test_without_given_pictures_the_shape_is_that_of_grey(prior: MVVDMPrior) -> None:
    assert latent_shape(prior, Condition(told(prior)[0].text)) == (1, 4, 4, FRAMES, 4, 4)
