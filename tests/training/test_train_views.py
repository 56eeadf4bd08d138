"""train-prior --kind views: what is trained and what is frozen, the loss, resuming; and that it learns (slow)."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from stages.assets import asset_path
from stages.errors import BadInput
from stages.events import Event, Progress
from stages.objectives.sample_views import sample_views
from stages.priors.load import load_prior
from stages.priors.multiview import MVVDMPrior
from stages.priors.prior import Condition
from stages.run_dir import StageFolder
from stages.skeletons.rigged import read_rigged
from stages.train_views import TrainViewsConfig, begin_folder, load_views, run, train
from stages.training.view_bank import Seen, ViewBank, read_view_bank, write_shard
from stages.training.views import draw_step, is_adapter, views_loss
from stages.zoo.clip import Clip
from stages.zoo.folder import FolderClips
from tests.e2e.command import animus3d

TABLE = """file,clip,caption,motion,rest
Fox.glb,Walk,a fox moves,moves,Survey
Fox.glb,Run,a fox moves,moves,Survey
Deer.glb,AnimalArmature|Gallop,a deer moves,moves,AnimalArmature|Idle
Deer.glb,AnimalArmature|Attack_Kick,a deer moves,moves,AnimalArmature|Idle
"""


def quiet(_: Event) -> None:
    """Report nothing."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bodies, two clips each under one sentence."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("Fox.glb", "Deer.glb"):
        shutil.copy(asset_path("rigged", name), folder)
    (folder / "captions.csv").write_text(TABLE)
    return folder


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


def bodies(data: Path, num_frames: int) -> list[Clip]:
    """Each line's clip of a body that always looks the same: the two of one body begin with one picture."""
    clips = []
    for line in FolderClips(data).lines():
        file = read_rigged(data / line.file)
        rest = file.pose(line.rest, torch.zeros(1))
        body = file.body(rest, 600, torch.Generator().manual_seed(0))
        times = torch.linspace(0.0, 0.7, num_frames) * file.clip_seconds(line.clip)
        clips.append(Clip(body.from_rest(file.pose(line.clip, times)), line.caption, line.motion))
    return clips


def decibels(found: Tensor, truth: Tensor) -> Tensor:
    """How much nearer ``found`` is to ``truth`` than its first frame is, in all later frames; [V, T, H, W, 3] each."""
    still = (truth[:, :1] - truth)[:, 1:].square().mean()
    return 10.0 * torch.log10(still / (found - truth)[:, 1:].square().mean())


def disagreement(found: Tensor, truths: list[Tensor]) -> float:
    """How much more error there is when one truth is to explain all views than when each view takes its own, as a
    share of how far the truths are apart; 0 when the views tell of one motion."""
    errors = torch.stack([(found - truth)[:, 1:].square().mean(dim=(1, 2, 3, 4)) for truth in truths])  # [M, V]
    apart = (truths[0] - truths[1])[:, 1:].square().mean()
    return float((errors.mean(dim=1).min() - errors.min(dim=0).values.mean()) / apart)


@pytest.mark.slow
def test_learns_two_bodies_from_four_views(data: Path, tmp_path: Path) -> None:
    """Sampled frames beat frame 0 repeated by 3 dB, and views tell of one motion more than single-view samples do.

    Each body has two motions under one sentence and from one picture: which it makes is left open, so that views that
    are sampled alone choose each for itself.
    """
    prior, bank = learnt(data, tmp_path / "prior")
    gains, joint, alone = figures(prior, bank)
    assert min(gains) > 0.0 and sum(gains) / len(gains) > 3.0, gains
    assert sum(joint) < 0.5 * sum(alone), (joint, alone)


def learnt(data: Path, out: Path, steps: int = 400, learning_rate: float = 3e-3) -> tuple[MVVDMPrior, ViewBank]:
    """A new model after some steps, and what it was taught: four clips."""
    config = TrainViewsConfig(
        steps=steps, data=str(data), batch_size=2, learning_rate=learning_rate, num_frames=4, size_px=16,
        widths=(64, 64), base_share=0.7, checkpoint_every=steps, ema_decay=0.98, weight_decay=0.0, text_dropout=0.0,
    )  # fmt: skip
    begin_folder(out, config, FolderClips(data))
    prior = load_views(str(out), config)
    write_shard(out / "clips.safetensors", prior, bodies(data, 4), [60.0] * 4)
    bank = read_view_bank([out / "clips.safetensors"])
    (out / "training").mkdir()
    train(out, StageFolder(out / "training"), config, prior, bank, 0, quiet)
    return load_views(str(out), config), bank


def figures(prior: MVVDMPrior, bank: ViewBank, seeds: int = 3) -> tuple[list[float], list[float], list[float]]:
    """Gains over frame 0 in decibels; disagreement of joint samples, and of samples of each view alone."""
    gains, joint, alone = [], [], []
    for first in (0, 2):
        seen = bank.read(torch.tensor([first, first + 1]))
        truths = [prior.decode_views(latents[None]) for latents in seen.latents]
        for seed in range(seeds):
            together = prior.decode_views(sampled(prior, seen, seed, slice(None)))
            apart = torch.cat([sampled(prior, seen, 100 * seed + v + 1, slice(v, v + 1)) for v in range(4)], dim=1)
            gains.append(max(float(decibels(together, truth)) for truth in truths))
            joint.append(disagreement(together, truths))
            alone.append(disagreement(prior.decode_views(apart), truths))
    return gains, joint, alone


def sampled(prior: MVVDMPrior, seen: Seen, seed: int, views: slice) -> Tensor:
    """Some views of what the first of ``seen`` may become, sampled together."""
    text = prior.encode_text(seen.captions[:1])
    told = Condition(text, seen.latents[:1, views, :, 0], seen.appearance[:1, views, None], seen.cameras[0, views])
    generator = torch.Generator().manual_seed(seed)
    return sample_views(prior, told, told, generator, steps=20, guidance=1.0, freeinit=1)
