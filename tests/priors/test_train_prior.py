"""train-prior on a handful of real clips: learns, resumes to the same weights, and what it writes is a prior."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stages.errors import BadInput
from stages.events import Event, Progress
from stages.priors.embedded import EmbeddedPrior
from stages.priors.load import load_prior
from stages.priors.warp import carry
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


def test_goes_on_from_another_prior(trained: Path, tmp_path: Path) -> None:
    """One step from given weights stays near them; words and autoencoder are theirs."""
    out = tmp_path / "further"
    (out / "training").mkdir(parents=True)
    (out / "training" / "clips").symlink_to(trained / "training" / "clips")
    run(out, replace(CONFIG, init=str(trained), steps=1, learning_rate=1e-6), quiet)
    before, after = load_prior(str(trained)), load_prior(str(out))
    assert torch.equal(before.vae.analysis, after.vae.analysis)
    for name, weights in before.denoiser.state_dict().items():
        torch.testing.assert_close(after.denoiser.state_dict()[name], weights, atol=1e-3, rtol=0)


def test_refuses_a_prior_of_another_size(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="4 frames of 16 pixels, not 4 of 32"):
        run(tmp_path / "larger", replace(CONFIG, init=str(trained), size_px=32), quiet)
    assert not (tmp_path / "larger").exists()


def test_the_bank_says_where_pixels_go(trained: Path) -> None:
    """Carrying the rest picture by the recorded flow leaves less than half of what the clips do."""
    bank = load_file(trained / "training" / "clips" / "00000.safetensors")
    frames, flow = bank["frames"].permute(0, 1, 4, 2, 3) / 255.0, bank["flow"].float().transpose(1, 2)
    change = frames - frames[:, :1]
    left_over = (change - carry(frames[:, 0], flow)).square().sum() / change.square().sum()
    assert left_over < 0.5
    still = change.abs().flatten(1).amax(dim=1) == 0
    assert still.any() and flow[still].abs().max() < 1e-3


def test_the_loss_is_lowest_at_the_truth(trained: Path) -> None:
    """A denoiser that knows the clip has no loss; one that says nothing has about one in its own units."""
    prior = load_prior(str(trained))
    assert isinstance(prior, EmbeddedPrior)
    x0 = 0.3 * torch.randn(4, 6, 4, 4, 4)
    texts = ["a walking dog"] * 4

    flow = torch.randn(4, 2, 4, 16, 16)

    class Knowing(torch.nn.Module):
        precondition = prior.denoiser.precondition

        def predict_with_flow(
            self, x_t: torch.Tensor, timestep: torch.Tensor, *_: object, **__: object
        ) -> tuple[torch.Tensor, torch.Tensor]:
            alpha, sigma = prior.parameterization.alpha_sigma(timestep, x_t)
            return prior.parameterization.target(x0, (x_t - alpha * x0) / sigma, timestep), flow

    def loss() -> float:
        return float(training_loss(prior, x0, flow, texts, CONFIG, torch.Generator().manual_seed(0)))

    with torch.no_grad():
        untrained = loss()
        prior.denoiser = Knowing()  # type: ignore[assignment]
        assert loss() < 1e-3 < untrained
