"""``distill --preset akd``, with CogVideoX as tiny as it gets: as typed, and interrupted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from stages import distill
from stages.assets import asset_path
from stages.events import Caution, Event, Note, Progress, silent
from stages.run_dir import RunDir
from stages.settings import with_settings
from tests.e2e.command import animus3d
from tests.priors.tiny_models import save_model

SMALL = {
    "num_frames": 9, "size_px": 32, "views.num_cameras": 2, "motion.skeleton.frames": 9, "max_gaussians": 400,
    "preview_every": 0, "checkpoint_every": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text-to-video CogVideoX."""
    return save_model("cogvideox", tmp_path_factory.mktemp("model") / "cogvideox")


@pytest.fixture(scope="module")
def fox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a rig."""
    run = tmp_path_factory.mktemp("akd") / "fox"
    animus3d("reconstruct", asset_path("rigged", "Fox.glb"), "--num-gaussians", 800, "--run", run)
    animus3d("rig", "--run", run)
    return run


def copied(fox: Path, run: Path) -> RunDir:
    made = RunDir(run)
    made.copy_from(RunDir(fox), before="distill")
    return made


def test_as_typed(fox: Path, model: Path, tmp_path: Path) -> None:
    run = tmp_path / "fox"
    small = [part for name, value in SMALL.items() for part in ("--set", f"{name}={value}")]
    line = ["distill", "--preset", "akd", "--prompt", "a walking fox", "--prior", model, "--steps", 2, *small]
    printed = animus3d(*line, "--from", fox, "--run", run)
    assert "LoRA" not in printed.stdout + printed.stderr
    settings = json.loads((run / "motion" / "config.json").read_text())["settings"]
    assert settings["score.objective"] == "sds" and settings["score.sds_form"] == "x0"
    assert settings["motion.kind"] == "skeleton" and settings["views.ground"] is True
    logged = [json.loads(line) for line in (run / "motion" / "metrics.jsonl").read_text().splitlines()]
    assert {"score", "smooth", "ground"} <= set(logged[0]) and logged[0]["score"] > 0.0
    tensors = RunDir(run).stage("motion").read_result("motion.safetensors")[0]
    assert tensors["angles"].abs().max() > 0.0 and all(one.isfinite().all() for one in tensors.values())


def test_interrupted_it_goes_on_to_the_same_bytes(fox: Path, model: Path, tmp_path: Path) -> None:
    config = with_settings(
        distill.PRESETS["akd"], {**SMALL, "prior": str(model), "prompt": "a walking fox", "steps": 5}
    )
    whole, cut = copied(fox, tmp_path / "whole"), copied(fox, tmp_path / "cut")
    said: list[Event] = []
    distill.run(whole, config, said.append)
    assert not [event for event in said if isinstance(event, Caution | Note) and "LoRA" in event.text]

    def stop(event: Event) -> None:
        if isinstance(event, Progress) and event.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill.run(cut, config, stop)
    assert not cut.stage("motion").is_complete() and cut.stage("motion").last_checkpoint() == 2
    distill.run(cut, config, silent)
    results = [run.path / "motion" / "motion.safetensors" for run in (whole, cut)]
    assert results[0].read_bytes() == results[1].read_bytes()


def test_it_needs_a_rig(fox: Path, model: Path, tmp_path: Path) -> None:
    run = tmp_path / "bare"
    animus3d("reconstruct", asset_path("splats", "deer.ply"), "--run", run)
    early = animus3d("distill", "--preset", "akd", "--prior", model, "--prompt", "it walks", "--run", run, code=4)
    assert "animus3d rig" in early.stderr


def test_the_ends_of_the_timesteps_are_those_of_the_first_half() -> None:
    score = distill.PRESETS["akd"].score
    assert score.timesteps_at(0.0) == pytest.approx((0.5, 0.98))
    assert score.timesteps_at(0.5) == score.timesteps_at(1.0) == pytest.approx((0.02, 0.5))
    assert not score.compares and torch.isfinite(torch.tensor(score.guidance))
