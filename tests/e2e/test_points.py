"""The stages with a prior that sees points: sample, distill, fit-lora, refine; interrupted and gone on with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stages import distill, fit_lora, refine, sample
from stages.errors import BadInput, MissingStage
from stages.events import Caution, Event, Note, Progress, silent
from stages.gaussians.normalised import normalised
from stages.motion.kinds import load_motion
from stages.moving.asset import load_moving_asset
from stages.run_dir import RunDir
from stages.settings import with_settings
from tests.gaussians.test_ply import splat
from tests.priors.points.tiny import save_tiny


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny points prior's folder."""
    return save_tiny(tmp_path_factory.mktemp("points") / "prior")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run with an asset."""
    asset = splat(1, count=60)
    run = RunDir(tmp_path / "run")
    run.put_asset(replace(asset, log_scales=asset.log_scales - 3.0), "asset.ply", force=False)
    return run


def matching(prior: str, **settings: object) -> distill.DistillConfig:
    """Distill with the points preset, short."""
    values = {"prior": prior, "prompt": "a dog walks", "steps": 30, "preview_every": 0, **settings}
    return with_settings(distill.PRESETS["default"], values)


def test_a_sample_is_chosen_and_followed(run: RunDir, prior: str) -> None:
    said: list[Event] = []
    sample.run(run, sample.SampleConfig(prior=prior, prompt="a dog strolls", count=3, denoise_steps=3), said.append)
    assert any(isinstance(event, Note) and "walk" in event.text for event in said)
    folder = run.stage("samples")
    assert {"samples.png", "samples.html", "sample_3.mp4"} <= {path.name for path in folder.path.iterdir()}
    own = {"match.sample": 3, "regularizers.arap_weight": 0.0, "motion.points.neighbours": 1, "steps": 60}
    distill.run(run, matching(prior, prompt="", **own), silent)
    tensors, metadata = run.stage("motion").read_result("motion.safetensors")
    assert metadata["prompt"] == "a dog strolls" and metadata["starts_at_rest"] == "false"
    motion, drawn = load_motion(tensors, metadata, "cpu"), folder.read_result("samples.safetensors")[0]["latents"]
    asset = normalised(run.load_asset())
    away = [_distance(motion, asset, prior, drawn[index : index + 1]) for index in range(3)]
    assert away[2] < 0.5 * min(away[:2])
    said.clear()
    sample.run(run, sample.SampleConfig(prior=prior, prompt="a dog strolls", count=3, denoise_steps=3), said.append)
    assert [type(event) for event in said] == [Note]  # nothing to do


def _distance(motion: object, asset: object, name: str, latents: torch.Tensor) -> float:
    """How far the motion is from a sample."""
    from stages.distilling.viewpoints import ViewsConfig, look_at
    from stages.priors.load import load_prior
    from stages.raster import choose

    prior = load_prior(name)
    [view] = look_at(
        prior, asset, ViewsConfig(num_cameras=1), choose("cpu"), prompt="a dog strolls", facing_deg=0.0, seed=0
    )  # type: ignore[arg-type]
    observed = prior.observe(motion.at(asset, prior.frame_times(view)), view)  # type: ignore[attr-defined]
    return float((observed.latents.detach() - latents).square().mean())


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"match.sample": 1, "prompt": ""}, MissingStage, "no samples"),
        ({"prompt": ""}, BadInput, "sentence"),
        ({"match.weight": 0.0}, BadInput, "nothing to optimise"),
    ],
)
def test_what_distill_refuses(run: RunDir, prior: str, settings: dict[str, object], error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        distill.run(run, matching(prior, **settings), silent)


def test_samples_of_another_sentence_or_number_are_refused(run: RunDir, prior: str) -> None:
    sample.run(run, sample.SampleConfig(prior=prior, prompt="a dog jumps", count=2, denoise_steps=2), silent)
    with pytest.raises(BadInput, match="jumps"):
        distill.run(run, matching(prior, **{"match.sample": 1}), silent)
    with pytest.raises(BadInput, match="no sample 3"):
        distill.run(run, matching(prior, prompt="", **{"match.sample": 3}), silent)


def test_an_unknown_motion_gets_a_caution_that_names_the_nearest(run: RunDir, prior: str) -> None:
    said: list[Event] = []
    distill.run(run, matching(prior, prompt="a dog does the taxes", steps=2), said.append)
    [caution] = [event for event in said if isinstance(event, Caution)]
    assert "walk" in caution.text


@pytest.mark.parametrize("kind", ["points", "hexplane"])
def test_a_motion_that_was_interrupted_ends_the_same(tmp_path: Path, run: RunDir, prior: str, kind: str) -> None:
    config = matching(prior, **{"steps": 8, "checkpoint_every": 2, "motion.kind": kind})
    whole = RunDir(tmp_path / "whole")
    whole.copy_from(run, before="fit-lora")
    distill.run(whole, config, silent)

    class Stop(Exception):
        pass

    def stop(event: Event) -> None:
        if isinstance(event, Progress) and event.step == 5:
            raise Stop

    with pytest.raises(Stop):
        distill.run(run, config, stop)
    distill.run(run, config, silent)
    first, second = (one.stage("motion").result_path("motion.safetensors").read_bytes() for one in (whole, run))
    assert first == second


@pytest.mark.parametrize("objective", ["msd", "sds"])
def test_scores_act_on_paths_too_and_refine_repairs_them(run: RunDir, prior: str, objective: str) -> None:
    fit_lora.run(run, fit_lora.FitLoraConfig(prior=prior, steps=2, batch_size=1), silent)
    score = {"match.weight": 0.0, "score.weight": 1.0, "score.objective": objective, "score.every": 1}
    distill.run(run, matching(prior, steps=4, **score), silent)
    tensors, metadata = run.stage("motion").read_result("motion.safetensors")
    assert tensors["paths"].abs().max() > 0.0
    refine.run(run, refine.RefineConfig(prior=prior, steps=3, denoise_steps=2), silent)
    repaired, _ = run.stage("refined").read_result("motion.safetensors")
    assert not torch.equal(repaired["paths"], tensors["paths"]) and metadata["kind"] == "points"


def test_a_loop_is_shown_without_its_first_frame_again_and_closes(run: RunDir, prior: str) -> None:
    distill.run(run, matching(prior), silent)
    moving = load_moving_asset(run, "auto", "cpu")
    assert moving.closes and moving.times(4).tolist() == [0.0, 0.25, 0.5, 0.75]
    frames = moving.at(torch.tensor([0.0, 1.0])).means
    torch.testing.assert_close(frames[0], frames[1], rtol=0, atol=1e-5)
    again = replace(moving, loop=True)
    assert torch.equal(again.at(again.times(4)).means, moving.at(moving.times(4)).means)


def test_one_sentence_follows_another_and_the_seconds_are_kept(run: RunDir, prior: str) -> None:
    config = matching(prior, then=("it jumps",), seconds=3.0, steps=4)
    distill.run(run, config, silent)
    metadata = run.stage("motion").read_result("motion.safetensors")[1]
    assert metadata["prompt"] == "a dog walks, then it jumps" and metadata["kind"] == "sequence"
    moving = load_moving_asset(run, "motion", "cpu")
    assert moving.num_frames(None, fps=10) == 30 and moving.num_frames(7, fps=10) == 7
    assert not moving.closes and not moving.starts_at_rest
    with pytest.raises(BadInput, match="joined by --then"):
        refine.run(run, with_settings(refine.PRESETS["default"], {"prior": prior}), silent)


def test_a_sequence_that_was_interrupted_ends_the_same(run: RunDir, prior: str, tmp_path: Path) -> None:
    config = matching(prior, then=("it jumps",), steps=4, checkpoint_every=3)
    distill.run(run, config, silent)
    whole = run.stage("motion").read_result("motion.safetensors")[0]
    for stop in (2, 3, 4, 5, 7):  # before a checkpoint, at one, between the sentences, in the second
        other = RunDir(tmp_path / f"other{stop}")
        other.copy_from(run, before="distill")

        def stopping(event: Event, stop: int = stop) -> None:
            if isinstance(event, Progress) and event.step == stop + 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            distill.run(other, config, stopping)
        distill.run(other, config, silent)
        found = other.stage("motion").read_result("motion.safetensors")[0]
        assert all(torch.equal(found[name], tensor) for name, tensor in whole.items())


def test_a_loop_is_played_again_until_its_seconds_are_over(run: RunDir, prior: str) -> None:
    distill.run(run, matching(prior, seconds=3.0, steps=2), silent)  # the tiny prior's walk takes one second
    moving = load_moving_asset(run, "motion", "cpu")
    assert moving.timing is not None and moving.timing.cycles == 3 and moving.closes
    means = moving.at(moving.times(30)).means
    torch.testing.assert_close(means[:10], means[10:20])
    assert moving.num_frames(None, fps=16) == 48


def test_a_lora_that_is_not_used_is_said(run: RunDir, prior: str) -> None:
    fit_lora.run(run, with_settings(fit_lora.PRESETS["default"], {"prior": prior, "steps": 1}), silent)
    said: list[Event] = []
    distill.run(run, matching(prior, steps=2), said.append)
    assert any(isinstance(event, Note) and "LoRA" in event.text for event in said)
