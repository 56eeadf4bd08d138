"""train-prior on a handful of real clips: learns, resumes to the same weights, and what it writes is a prior."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from stages.assets import asset_path
from stages.errors import BadInput
from stages.events import Event, Progress
from stages.priors.embedded import EmbeddedPrior
from stages.priors.load import load_prior
from stages.priors.prior import motions_named
from stages.priors.warp import carry
from stages.train_prior import run
from stages.training.video import Draw, TrainPriorConfig, training_loss

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


def test_two_processes_learn_what_one_does(trained: Path, tmp_path: Path) -> None:
    """The same batches, each shared by two. Gradients differ in their last digits, which bfloat16 and the first steps
    make larger; two that took the same part of each batch would differ by as much as was learnt."""
    out = tmp_path / "shared"
    (out / "training").mkdir(parents=True)
    (out / "training" / "clips").symlink_to(trained / "training" / "clips")
    run(out, replace(CONFIG, processes=2), quiet)
    alone, shared = load_prior(str(trained)), load_prior(str(out))
    start = replace(CONFIG, steps=1, learning_rate=0.0)
    (tmp_path / "start" / "training").mkdir(parents=True)
    (tmp_path / "start" / "training" / "clips").symlink_to(trained / "training" / "clips")
    untrained = load_prior(str(run(tmp_path / "start", start, quiet)))
    one, two, none = (
        torch.cat([p.flatten() for p in prior.denoiser.parameters()]) for prior in (alone, shared, untrained)
    )
    assert (one - two).norm() < 0.3 * (one - none).norm()


def test_refuses_a_batch_that_cannot_be_shared(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="batch of 4 cannot be shared evenly by 3"):
        run(tmp_path / "odd", replace(CONFIG, processes=3), quiet)


TABLE = """file,clip,caption,motion,rest,cycles
deer.glb,AnimalArmature|Walk,the okapi ambles,ambles,AnimalArmature|Idle,1
deer.glb,AnimalArmature|Eating,an okapi browses,browses,,
"""


def own_folder(path: Path, table: str) -> Path:
    path.mkdir()
    (path / "deer.glb").symlink_to(asset_path("rigged", "Deer.glb"))
    (path / "captions.csv").write_text(table)
    return path


def test_learns_from_a_folder_of_animated_files(trained: Path, tmp_path: Path) -> None:
    """New words are added to those of the prior it goes on from; old words keep what they mean."""
    data = own_folder(tmp_path / "okapis", TABLE)
    out = run(tmp_path / "own", replace(CONFIG, data=str(data), init=str(trained), learning_rate=1e-7), quiet)
    before, after = load_prior(str(trained)), load_prior(str(out))
    assert {"okapi", "ambles", "browses"} <= set(after.tokenizer.get_vocab()) - set(before.tokenizer.get_vocab())
    for word, index in before.tokenizer.get_vocab().items():
        assert after.tokenizer.get_vocab()[word] == index
    torch.testing.assert_close(
        after.encode_text(["a walking deer"]).pooled, before.encode_text(["a walking deer"]).pooled, atol=1e-3, rtol=0
    )
    assert motions_named(after, "An okapi BROWSES.") == ["browses"] and motions_named(after, "a deer walks") == ["walk"]
    assert not motions_named(before, "an okapi browses")
    captions = safe_open(next((out / "training" / "clips").glob("*.safetensors")), "pt").metadata()["captions"]
    assert "the okapi ambles" in captions and "an okapi browses" in captions and "static statue" in captions


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("file,clip,caption\n", "no lines below its head"),
        ("file,clip,caption\ndeer.glb,Walk,a deer walks\n", "has no clip 'Walk'"),
        ("file,clip,caption\ngoat.glb,Walk,a goat walks\n", "There is no file"),
        ("file,clip\ndeer.glb,AnimalArmature|Walk\n", "line 2: no caption"),
        ("file,clip,caption,motion\ndeer.glb,AnimalArmature|Walk,a deer walks,runs\n", "'runs' is not a word of"),
        ("file,clip,caption,cycles\ndeer.glb,AnimalArmature|Walk,a deer walks,two\n", "cycles must be a number"),
    ],
)
def test_says_what_is_wrong_with_a_folder(tmp_path: Path, table: str, complaint: str) -> None:
    data = own_folder(tmp_path / "own", table)
    with pytest.raises(BadInput) as refused:
        run(tmp_path / "out", replace(CONFIG, data=str(data)), quiet)
    assert complaint in f"{refused.value}"
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no captions\.csv"):
        run(tmp_path / "out", replace(CONFIG, data=str(tmp_path)), quiet)


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
    flow = torch.randn(4, 2, 4, 16, 16)
    timestep = torch.tensor([999, 700, 300, 40])
    draw = Draw(torch.arange(4), ["a walking dog"] * 4, timestep, torch.randn_like(x0), torch.ones(4))

    class Knowing(torch.nn.Module):
        precondition = prior.denoiser.precondition

        def predict_with_flow(
            self, x_t: torch.Tensor, timestep: torch.Tensor, *_: object, **__: object
        ) -> tuple[torch.Tensor, torch.Tensor]:
            alpha, sigma = prior.parameterization.alpha_sigma(timestep, x_t)
            return prior.parameterization.target(x0, (x_t - alpha * x0) / sigma, timestep), flow

    def loss() -> float:
        return float(training_loss(prior, x0, flow, draw, CONFIG))

    with torch.no_grad():
        untrained = loss()
        prior.denoiser = Knowing()  # type: ignore[assignment]
        assert loss() < 1e-3 < untrained
