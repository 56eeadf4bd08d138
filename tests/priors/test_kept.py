"""A prior that a worker keeps from job to job is, to each, as if it had been loaded anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from stages.priors import load
from stages.priors.load import keep_priors, load_prior
from stages.priors.lora import add_adapter, remove_adapter
from stages.priors.prior import Condition
from tests.priors.points.tiny import save_tiny
from tests.priors.test_embedded import tiny_prior
from tests.priors.tiny_models import save_model, small_clips


@pytest.fixture
def keeping() -> Iterator[None]:
    keep_priors()
    yield
    load._kept = None


def disturb(denoiser: torch.nn.Module) -> None:
    """Put an adapter on, trained at random and switched on."""
    from stages.priors.lora import set_adapter

    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _, parameter in add_adapter(denoiser, rank=2, alpha=2.0, seed=0):
            parameter.normal_(generator=generator)
    set_adapter(denoiser, enabled=True)


def test_without_its_adapter_a_denoiser_is_as_before(tmp_path: Path) -> None:
    folder = save_model("modelscope", tmp_path / "model")
    prior = load_prior(str(folder), **small_clips("modelscope"))
    assert prior.denoiser is not None
    text = prior.encode_text(["a deer"])
    picture = torch.rand(1, prior.clip.height, prior.clip.width, 3, generator=torch.Generator().manual_seed(0))
    latents = torch.randn(prior.encode_still(picture).shape, generator=torch.Generator().manual_seed(2))
    names = [name for name, _ in prior.denoiser.named_parameters()]

    def says() -> torch.Tensor:
        with torch.no_grad():
            return prior.predict(latents, 500, Condition(text, prior.encode_picture(picture)))

    plain = says()
    for _ in range(2):
        disturb(prior.denoiser)
        assert not torch.equal(says(), plain)
        remove_adapter(prior.denoiser)
        assert torch.equal(says(), plain)
    assert [name for name, _ in prior.denoiser.named_parameters()] == names
    assert not any(parameter.requires_grad for parameter in prior.denoiser.parameters())


def test_the_same_prior_is_kept_without_what_was_put_on_it(tmp_path: Path, keeping: None) -> None:
    name = save_tiny(tmp_path / "prior")
    prior = load_prior(name)
    before = {key: tensor.clone() for key, tensor in prior.denoiser.state_dict().items()}  # type: ignore[union-attr]
    disturb(prior.denoiser)  # type: ignore[arg-type]
    again = load_prior(name)
    assert again is prior
    now = again.denoiser.state_dict()  # type: ignore[union-attr]
    assert now.keys() == before.keys() and all(torch.equal(now[key], before[key]) for key in before)


def test_another_prior_or_another_clip_is_loaded_anew(tmp_path: Path, keeping: None) -> None:
    points = save_tiny(tmp_path / "points")
    tiny_prior().save(tmp_path / "video")
    first = load_prior(points)
    video = load_prior(str(tmp_path / "video"))
    assert type(video) is not type(first)
    assert load_prior(points) is not first  # one is kept a device
    (tmp_path / "points" / "points" / "config.json").write_text(
        (tmp_path / "points" / "points" / "config.json").read_text() + "\n"
    )
    assert load_prior(points) is not load._kept and load_prior(points) is load_prior(points)


def test_without_a_worker_nothing_is_kept(tmp_path: Path) -> None:
    name = save_tiny(tmp_path / "prior")
    assert load_prior(name) is not load_prior(name)
