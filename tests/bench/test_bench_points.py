"""The benchmark of the points prior runs on an untrained one; the saved judge is the one that was measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stages import distill
from stages.errors import BadInput
from stages.geometry.trajectories import NUM_FUNCTIONS
from stages.priors.points.model import Manner, PointsModel, Verb
from stages.priors.points.network import AnimusPointsModel, NetworkConfig
from stages.priors.points.prior import PointsPrior
from stages.zoo.bodies import bodies
from tests.bench import bench_points, motion_judge
from tests.bench.bench_points import PointsBench
from tests.bench.motion_judge import CLASSES, STILL, in_frames, load_judge, name_motion, tokens
from tests.bench.motion_measures import compare
from tests.bench.point_tasks import LIMBED, held_out, tasks_of
from tests.bench.points_figures import summary, table
from tests.bench.record import RESULTS
from tests.bench.train_motion_judge import fold_of, true_clips, verdicts

VERBS = (
    Verb("walk", True, 1.0),
    Verb("jump", False, 1.2),
    Verb("pick up", False, 1.0),
    STATIC := Verb("static", True, 1.0),
)
GAUSSIANS = 400
COW = next(body for body in held_out(GAUSSIANS) if body.name == "Cow")


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tiny prior whose weights are random."""
    torch.manual_seed(0)
    network = AnimusPointsModel(
        NetworkConfig(verbs=[verb.name for verb in VERBS], width=32, num_layers=1, num_octaves=2)
    )
    torch.nn.init.normal_(network.leave.weight, std=0.2)
    folder = tmp_path_factory.mktemp("points")
    PointsPrior(
        "tiny", PointsModel(network, VERBS, [Manner("walk", "walk")], torch.full((2, NUM_FUNCTIONS), 0.1))
    ).save(folder)
    return str(folder)


def test_an_untrained_prior_is_measured(prior: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(distill.PRESETS, "default", _short())
    few = PointsBench(prior=prior, bodies=("Cow",), seeds=1, samples=6, gaussians=GAUSSIANS)
    config = replace(few, distill=True, work=str(tmp_path))
    found = bench_points.measure(config)
    assert {row["task"] for row in found} == {"Cow-walk", "Cow-jump"}
    assert {row["recipe"] for row in found} == {"true", "sample", "mean", "distill"}
    assert len([row for row in found if row["recipe"] == "true"]) == 3, "the cow jumps in two ways"
    for row in found:
        if row["recipe"] != "true":
            assert abs(row["cosine"]) < 0.7 and row["amplitude"] > 0.0 and row["seconds"] > 0.0
            assert row["stretching"] > 0.0 and ("slide" in row) == (row["verb"] == "walk")
    figures = summary(found)
    assert figures["sample"]["all"]["runs"] == figures["distill"]["all"]["runs"] == 2
    assert "known family, quadrupeds and bipeds: walk, run, jump, eat, attack" in figures["mean"]
    assert "distill: all" in table(figures) and json.dumps(figures)
    picture = bench_points.sheet(few)
    assert picture.shape == (2 * 96, 16 * 96, 3) and 0.0 <= float(picture.min()) < 0.9


def test_the_truth_itself_is_right(prior: str) -> None:
    """The body's own clip, in place of what the prior makes, is at no distance from the truth."""
    (walk,) = [task for task in tasks_of(bench_points._prior(prior), (COW,)) if task.verb.name == "walk"]
    (motion,) = COW.clips("walk")
    truth = COW.moves(motion, cyclic=True)
    assert walk.sentence == "the cow will walk" and walk.group == LIMBED
    assert compare(truth, truth, cyclic=True)["cosine"] == pytest.approx(1.0, abs=1e-4)
    jump = COW.moves(COW.clips("jump")[0], cyclic=False)
    assert float(jump[0].abs().max()) < 1e-4, "a motion that runs through once begins at rest"
    box = COW.asset.means.amax(dim=0) - COW.asset.means.amin(dim=0)
    assert float(box.max()) == pytest.approx(2.0, abs=0.1)


def test_a_verb_that_no_sentence_says_is_told_by_its_number(prior: str) -> None:
    loaded = bench_points._prior(prior)
    for task in tasks_of(loaded, held_out(GAUSSIANS)):
        number = [[loaded.numbers[task.verb.name]]]
        for same in (task, replace(task, sentence="")):
            pooled = same.text(loaded).pooled
            assert pooled is not None and pooled.tolist() == number


def test_unknown_bodies_are_named(prior: str) -> None:
    with pytest.raises(BadInput, match="Unicorn"):
        PointsBench(prior=prior, bodies=("Unicorn",), gaussians=GAUSSIANS).tasks()


def test_the_judge_sees_neither_the_rest_pose_nor_the_number_of_frames() -> None:
    generator = torch.Generator().manual_seed(0)
    rest, moves = torch.randn(2, 20, 3, generator=generator), torch.randn(2, 16, 20, 3, generator=generator)
    elsewhere = moves + torch.randn(2, 1, 20, 3, generator=generator)
    assert torch.allclose(tokens(rest, moves), tokens(rest, elsewhere), atol=1e-4)
    line = torch.linspace(0.0, 1.0, 31)[:, None, None].expand(-1, 20, 3)
    assert torch.allclose(in_frames(line)[:, 0, 0], torch.linspace(0.0, 1.0, 16), atol=1e-5)


def test_the_saved_judge_is_the_one_that_was_measured() -> None:
    saved = json.loads((RESULTS / "motion_judge.json").read_text())
    assert motion_judge.WEIGHTS.stat().st_size <= 2 * 2**20 and len(CLASSES) >= 12
    clips = true_clips((COW.entry,))
    wrong = {f"{row['body']} {row['clip']}: {row['verb']} named {row['named']}" for row in verdicts(load_judge(), clips)
             if row["verb"] not in (STILL, row["named"])}  # fmt: skip
    assert wrong == {line for line in saved["wrong"] if line.startswith(COW.entry.file)}
    assert name_motion(load_judge(), clips[0]["rest"], torch.zeros(24, motion_judge.NUM_POINTS, 3)) == STILL


def test_folds_leave_out_families_whole_and_no_held_out_body() -> None:
    entries = bodies()
    assert not {entry.file for entry in entries} & {entry.file for entry in bodies(held_out=True)}
    for fold in range(3):
        out = fold_of(entries, fold)
        left = {entry.family for entry, one in zip(entries, out, strict=True) if one}
        kept = {entry.family for entry, one in zip(entries, out, strict=True) if not one}
        assert left - kept and kept


def _short() -> distill.DistillConfig:
    return replace(distill.PRESETS["default"], steps=2, checkpoint_every=2)
