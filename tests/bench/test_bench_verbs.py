"""The saved verdicts are those of the saved classifier, and the figures follow from them."""

from __future__ import annotations

import json

import pytest
import torch

from stages.gaussians import Frames
from tests.bench.bench_verbs import RUNS, judged, summary
from tests.bench.held_out import CASES, HELD_OUT, NUM_FRAMES, measure
from tests.bench.verb_classifier import CLASSES

SAVED = json.loads(RUNS.read_text())["runs"]


@pytest.mark.parametrize("name", ["cow-eat", "trex-jump"])
def test_the_classifier_says_of_true_clips_what_was_saved(name: str) -> None:
    (saved,) = [run for run in SAVED if run["recipe"] == "true" and run["case"] == name]
    truth = next(case for case in CASES if case.name == name).truth()
    case = next(case for case in CASES if case.name == name)
    again = judged(case, "true", 0, truth)
    assert again["named"] == saved["named"] == case.verb
    assert abs(again["share"] - saved["share"]) < 0.02 and abs(again["limbs"] - saved["limbs"]) < 1e-4


def test_the_figures_follow_from_the_runs() -> None:
    """Halving every amplitude of the distilled clips halves their ratio; naming all rightly gives one."""
    before = summary(SAVED)
    changed = [
        run | {"limbs_to_torso": 0.5 * run["limbs_to_torso"], "named": run["verb"]}
        if run["recipe"] == "default"
        else run
        for run in SAVED
    ]
    after = summary(changed)
    assert after["top1"] == 1.0 and after["amplitude_ratio"] == pytest.approx(0.5 * before["amplitude_ratio"], abs=1e-3)
    assert after["sds_top1"] == before["sds_top1"] and before["chance"] == round(1 / len(CLASSES), 4) < 0.15


def test_held_out_bodies_are_in_no_training() -> None:
    from stages.zoo.rigs import rigs

    assert not {rig.file for rig in HELD_OUT} & {rig.file for rig in rigs()}
    assert {rig.folder for rig in rigs()} == {"rigged"} and {rig.folder for rig in HELD_OUT} == {"held_out"}
    assert all(case.verb in CLASSES for case in CASES)


def test_what_stands_still_goes_nowhere_and_the_truth_is_its_own_measure() -> None:
    truth = CASES[0].truth()
    still = measure(Frames.at_rest(truth.asset, NUM_FRAMES), truth)
    moved = measure(truth, truth)
    assert still["limbs"] == still["torso"] == 0.0 and still["arap"] < 1e-9 and still["colour_drift"] < 1e-6
    assert (
        moved["limbs"] > 2 * moved["torso"]
        and moved["arap"] > 1e-4
        and torch.isfinite(torch.tensor(list(moved.values()))).all()
    )
