"""The adapter of a model in bfloat16, in which every model is on a card."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from stages.errors import CorruptCheckpoint
from stages.priors.load import load_prior
from stages.priors.lora import adapter_on, adapter_tensors, add_adapter, load_adapter
from stages.priors.prior import Condition
from stages.priors.published import PublishedPrior
from tests.priors.tiny_models import save_model, small_clips

RATE = 1e-4
"""As ``--preset published`` has it: of a weight of 0.1 less than bfloat16 can tell."""


def bfloat16_prior(folder: Path, name: str) -> PublishedPrior:
    prior = load_prior(str(folder), **small_clips(name))
    assert isinstance(prior, PublishedPrior)
    prior.dtype = torch.bfloat16
    return prior


@pytest.mark.parametrize("name", ["modelscope", "cogvideox"])
def test_every_weight_learns_and_comes_back(tmp_path: Path, name: str) -> None:
    folder = save_model(name, tmp_path / "model")
    prior = bfloat16_prior(folder, name)
    text = prior.encode_text(["a deer"])
    size = prior.clip
    picture = torch.rand(1, size.height, size.width, 3, generator=torch.Generator().manual_seed(0))
    latents = torch.randn(prior.encode_still(picture).shape, generator=torch.Generator().manual_seed(2))
    seen = prior.encode_picture(picture)

    def says(of: PublishedPrior) -> torch.Tensor:
        return of.predict(latents, 500, Condition(text, seen))

    with torch.no_grad():
        plain = says(prior)
    parameters = add_adapter(prior.denoiser, rank=2, alpha=2.0, seed=0)
    with torch.no_grad():
        for parameter_name, parameter in parameters:
            if "lora_B" in parameter_name:
                parameter.normal_(generator=torch.Generator().manual_seed(1))
    before = {key: parameter.detach().clone() for key, parameter in parameters}
    optimiser = torch.optim.AdamW([parameter for _, parameter in parameters], lr=RATE, weight_decay=0.0)
    with adapter_on(prior.denoiser):
        (1e3 * says(prior).square().mean()).backward()
    optimiser.step()
    for key, parameter in parameters:
        assert parameter.grad is not None
        asked = parameter.grad.abs() > 1e-7  # Adam's own epsilon is 1e-8
        assert asked.any() and (parameter != before[key])[asked].all(), key

    with torch.no_grad(), adapter_on(prior.denoiser):
        adapted = says(prior)
    with torch.no_grad():
        assert torch.equal(says(prior), plain)  # off, bit for bit
    again = bfloat16_prior(folder, name)
    again.encode_text(["a deer"])
    load_adapter(again.denoiser, adapter_tensors(prior.denoiser), {"rank": "2", "alpha": "2.0"})
    with torch.no_grad(), adapter_on(again.denoiser):
        assert torch.equal(says(again), adapted) and not torch.equal(adapted, plain)


def test_an_adapter_that_lacks_a_tensor_is_refused(tmp_path: Path) -> None:
    folder = str(save_model("modelscope", tmp_path / "model"))
    prior = load_prior(folder, **small_clips("modelscope"))
    assert prior.denoiser is not None
    add_adapter(prior.denoiser, rank=2, alpha=2.0, seed=0)
    tensors = adapter_tensors(prior.denoiser)
    tensors.pop(lost := min(tensors))
    other = load_prior(folder, **small_clips("modelscope"))
    assert other.denoiser is not None
    with pytest.raises(CorruptCheckpoint, match=re.escape(lost)):
        load_adapter(other.denoiser, tensors, {"rank": "2", "alpha": "2.0"})
