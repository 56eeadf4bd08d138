"""train-prior on a handful of real clips: learns, resumes to the same weights, and what it writes is a prior."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stages.events import Event, Progress
from stages.priors.embedded import EmbeddedPrior
from stages.priors.load import load_prior
from stages.train_prior import TrainPriorConfig, run, training_loss

CONFIG = TrainPriorConfig(
    steps=6, num_clips=64, size_px=16, num_frames=4, batch_size=4, warmup_steps=1, fine_width=32, width=32,
    num_layers=1, num_fine_layers=1, latent_channels=6, checkpoint_every=2, preview_every=6,
)  # fmt: skip


def quiet(_: Event) -> None:
    """Report nothing."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("prior") / "straight", CONFIG, quiet)


def test_what_it_writes_is_a_prior(trained: Path) -> None:
    prior = load_prior(str(trained))
    assert (prior.clip.num_frames, prior.clip.height, prior.clip.width) == (4, 16, 16)
    assert (trained / "training" / "samples_000006.png").exists()
    assert run(trained, CONFIG, quiet) == trained  # done: nothing happens


def test_interrupted_and_resumed_is_bitwise_the_same(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "resumed"
    (out / "training").mkdir(parents=True)
    (out / "training" / "clips").symlink_to(trained / "training" / "clips")

    def interrupt(event: Event) -> None:
        if isinstance(event, Progress) and event.step == 5 and "loss" in event.metrics:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(out, CONFIG, interrupt)
    run(out, CONFIG, quiet)
    for part in ("transformer", "text_encoder"):
        (straight,) = [load_file(path) for path in (trained / part).glob("*.safetensors")]
        (resumed,) = [load_file(path) for path in (out / part).glob("*.safetensors")]
        assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_the_loss_is_lowest_at_the_truth(trained: Path) -> None:
    """A denoiser that knows the clip has no loss; one that says nothing has about one in its own units."""
    prior = load_prior(str(trained))
    assert isinstance(prior, EmbeddedPrior)
    x0 = 0.3 * torch.randn(4, 6, 4, 4, 4)
    texts = ["a walking dog"] * 4

    class Knowing(torch.nn.Module):
        precondition = prior.denoiser.precondition

        def forward(self, x_t: torch.Tensor, timestep: torch.Tensor, *_: object) -> torch.Tensor:
            alpha, sigma = prior.parameterization.alpha_sigma(timestep, x_t)
            return prior.parameterization.target(x0, (x_t - alpha * x0) / sigma, timestep)

    def loss() -> float:
        return float(training_loss(prior, x0, texts, CONFIG, torch.Generator().manual_seed(0)))

    with torch.no_grad():
        untrained = loss()
        prior.denoiser = Knowing()  # type: ignore[assignment]
        assert loss() < 1e-3 < untrained
