"""train-prior --kind views: what is trained and what is frozen, the loss, resuming; and that it learns (slow)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from stages.errors import BadInput
from stages.events import Event, Progress
from stages.priors.load import load_prior
from stages.priors.multiview import MVVDMPrior
from stages.train_views import TrainViewsConfig, load_views, run
from stages.training.view_bank import read_view_bank
from stages.training.views import Draw, draw_step, is_adapter, views_loss
from tests.bench.bench_train_views import learnt, write_data
from tests.e2e.command import animus3d


def quiet(_: Event) -> None:
    """Report nothing."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bodies, two clips each under one sentence."""
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def config(data: Path) -> TrainViewsConfig:
    return TrainViewsConfig(
        steps=4, data=str(data), num_clips=2, batch_size=1, learning_rate=1e-3, num_frames=2, size_px=16,
        widths=(16, 16), num_heads=2, checkpoint_every=2, base_share=0.25,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(config: TrainViewsConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("prior") / "straight", config, quiet)


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")


def test_what_it_writes_is_a_prior_of_views(trained: Path, config: TrainViewsConfig) -> None:
    prior = load_prior(str(trained), num_frames=2, size_px=16)
    assert isinstance(prior, MVVDMPrior) and prior.num_views == 4
    pictures = torch.rand(4, 16, 16, 3)
    given = prior.given(prior.encode_text(["a fox moves"]), pictures, torch.eye(4).repeat(4, 1, 1))
    assert prior.decode_views(given.picture[:, :, :, None]).shape == (4, 1, 16, 16, 3)  # type: ignore[index]
    assert run(trained, config, quiet) == trained  # done: nothing happens


def test_interrupted_and_resumed_is_bitwise_the_same(trained: Path, config: TrainViewsConfig, tmp_path: Path) -> None:
    interrupted = []

    def interrupt(event: Event) -> None:
        if isinstance(event, Progress) and event.step == 3 and event.metrics:
            interrupted.append(event)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "resumed", config, interrupt)
    run(tmp_path / "resumed", config, quiet)
    straight, resumed = weights(trained), weights(tmp_path / "resumed")
    assert interrupted and all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_from_a_given_prior_only_the_adapters_are_trained(
    trained: Path, config: TrainViewsConfig, tmp_path: Path
) -> None:
    """Multi-view attention and all else that came with it stay as they were."""
    out = run(tmp_path / "on", replace(config, init=str(trained), steps=2), quiet)
    before, after = weights(trained), weights(out)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all(is_adapter(name) for name in moved)
    for part in ("motion_modules.", "to_q_i2v", "to_out_i2v", "to_v_ip", "to_v_sp", "mix_factor"):
        assert any(part in name for name in moved), part


def test_the_first_frame_is_no_part_of_the_loss(trained: Path, config: TrainViewsConfig) -> None:
    prior = load_views(str(trained), replace(config, init=str(trained)))
    bank = read_view_bank(sorted((trained / "training" / "clips").glob("*.safetensors")))
    draw, seen = draw_step(bank, prior, 2, 0.0, torch.Generator().manual_seed(0))
    assert seen.latents.shape == (2, 4, 12, 2, 4, 4)
    with torch.no_grad():
        loss = views_loss(prior, seen, draw)
        eps = draw.eps.clone()
        eps[:, :, :, 0] += 5.0
        assert torch.equal(views_loss(prior, seen, replace(draw, eps=eps)), loss)
        eps[:, :, :, 1] += 5.0
        assert views_loss(prior, seen, replace(draw, eps=eps)) != loss


@pytest.mark.parametrize(
    ("change", "says"),
    [({"widths": (64,)}, "widths"), ({"widths": (64, 10)}, "widths"), ({"base_share": 2.0}, "base_share")],
)
def test_settings_that_cannot_be(config: TrainViewsConfig, change: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        replace(config, **change)


def test_from_the_command_line(data: Path, tmp_path: Path) -> None:
    line = ["train-prior", "--kind", "views", "--out", tmp_path / "prior"]
    assert "--data" in animus3d(*line, code=3).stderr
    animus3d(*line, "--data", data, "--minutes", "1", code=2)
    tiny = ["num_frames=2", "size_px=16", "widths=16,16", "num_heads=2"]
    animus3d(*line, "--data", data, "--steps", "1", "--clips", "1", *(f"--set={one}" for one in tiny))
    assert (tmp_path / "prior" / "model_index.json").exists()


def test_a_prior_that_sees_no_views(config: TrainViewsConfig, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="sees no views"):
        run(tmp_path / "out", replace(config, init="points"), quiet)


@pytest.mark.slow
def test_learns_two_bodies_from_four_views(data: Path, tmp_path: Path) -> None:
    """From a clip at 60 % of the schedule it tells the clean frames 3 dB nearer than frame 0 repeated is, although
    each picture and sentence has two motions. What whole samples reach: ``tests/bench/bench_train_views.py``."""
    prior, bank = learnt(data, tmp_path / "prior", 350, 2e-3)
    seen = bank.read(torch.arange(4))
    x0, timestep = seen.latents, 600
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        loss = views_loss(prior, seen, Draw(torch.arange(4), torch.full((4,), timestep), eps, torch.ones(4)))
    error = loss * float(prior.parameterization.sigmas[timestep]) ** 2  # of the clean clip that v says
    still = (x0[:, :, :, 1:] - x0[:, :, :, :1]).square().mean()
    assert 10.0 * torch.log10(still / error) > 3.0
