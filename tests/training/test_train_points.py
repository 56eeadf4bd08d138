"""train-prior --kind points: resumed, begun from another prior, and on a user's own files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from stages.assets import asset_path
from stages.errors import BadInput
from stages.events import silent
from stages.priors.load import load_prior
from stages.priors.points import PointsPrior
from stages.train_points import SHORTFALL, TrainPointsConfig, run, usual_shortfall
from stages.training.point_bank import read_bank
from tests.priors.points.tiny import save_tiny

TINY = {"num_examples": 20, "batch_size": 2, "num_points": 16, "checkpoint_every": 1, "width": 32, "num_layers": 2}
CAPTIONS = """file,clip,caption,motion,rest
fox.glb,{walk},a fox walks about,,
fox.glb,{survey},a fox zorbs,zorbs,{survey}
"""


@pytest.fixture()
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    shutil.copyfile(asset_path("bodies", "khronos_Fox.glb"), folder / "fox.glb")
    (folder / "captions.csv").write_text(CAPTIONS.format(walk="Walk", survey="Survey"))
    return folder


def trained(out: Path, **settings: object) -> PointsPrior:
    run(out, TrainPointsConfig(**(TINY | settings)), silent)  # type: ignore[arg-type]
    prior = load_prior(str(out))
    assert isinstance(prior, PointsPrior)
    return prior


def test_own_files_teach_their_own_words(own: Path, tmp_path: Path) -> None:
    prior = trained(tmp_path / "prior", data=str(own), steps=2)
    assert [verb.name for verb in prior.model.verbs] == ["walk", "zorbs", "static"]
    assert prior.model.verbs[0].cyclic
    assert {manner.name for manner in prior.model.manners} == {"fox.glb/Walk", "fox.glb/Survey"}
    assert prior.understand("the fox zorbs").verb == "zorbs"


def test_what_another_prior_knew_stays_known(own: Path, tmp_path: Path) -> None:
    former = load_prior(save_tiny(tmp_path / "former"))
    assert isinstance(former, PointsPrior)
    config = {"data": str(own), "init": str(tmp_path / "former"), "steps": 1, "learning_rate": 1e-9}
    prior = trained(tmp_path / "prior", **config)
    names = [verb.name for verb in prior.model.verbs]
    assert set(names) == {"walk", "zorbs", "jump", "static"}
    words, before = prior.denoiser.words.weight, former.denoiser.words.weight
    torch.testing.assert_close(words[names.index("jump")], before[1], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(words[-1], before[-1], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(prior.denoiser.leave.weight, former.denoiser.leave.weight, rtol=1e-3, atol=1e-3)
    assert {"dogs/Walk", "fox.glb/Walk"} <= {manner.name for manner in prior.model.manners}
    prior.save(tmp_path / "again")  # it was read from a folder of this machine
    assert str(tmp_path) not in (tmp_path / "again" / "points" / "config.json").read_text()


def test_stopped_by_the_clock_and_gone_on_with_gives_the_same(own: Path, tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", data=str(own), steps=3)
    run(tmp_path / "parts", TrainPointsConfig(**TINY, data=str(own), steps=3, minutes=0.0001), silent)  # type: ignore[arg-type]
    parts = trained(tmp_path / "parts", data=str(own), steps=3)
    for one, other in zip(whole.denoiser.parameters(), parts.denoiser.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_prior_of_another_size_is_refused(own: Path, tmp_path: Path) -> None:
    save_tiny(tmp_path / "former")
    with pytest.raises(BadInput, match="2 layers of 32"):
        trained(tmp_path / "prior", data=str(own), init=str(tmp_path / "former"), width=64)


def test_a_sentence_without_a_motion_is_named(own: Path, tmp_path: Path) -> None:
    (own / "captions.csv").write_text("file,clip,caption\nfox.glb,Walk,a small fox\n")
    with pytest.raises(BadInput, match="a small fox"):
        trained(tmp_path / "prior", data=str(own), steps=1)


def test_how_far_samples_fall_short_is_measured(own: Path, tmp_path: Path) -> None:
    prior = trained(tmp_path / "prior", data=str(own), steps=1)
    bank = read_bank(tmp_path / "prior" / "training" / "examples", 20)
    assert prior.model.amplitude == SHORTFALL[1]  # after one step samples hardly move
    torch.nn.init.normal_(prior.denoiser.leave.weight, generator=torch.Generator().manual_seed(0))
    assert usual_shortfall(prior, bank) == SHORTFALL[0]  # they go farther


def test_what_it_was_taught_is_familiar(own: Path, tmp_path: Path) -> None:
    limit = trained(tmp_path / "prior", data=str(own), steps=1).model.unfamiliar
    assert 0.0 < limit < 1.0  # nats: two manners
