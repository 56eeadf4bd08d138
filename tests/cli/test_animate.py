"""animate: from an asset and a sentence to a video."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from animus3d_cli.main import app
from stages.assets import asset_path
from stages.errors import BadInput
from stages.gaussians.formats.ply import read_ply, write_ply
from tests.gaussians.test_ply import splat
from tests.media.test_video import read_video
from tests.priors.points.tiny import save_tiny
from tests.priors.test_embedded import tiny_prior


def animate(*words: str) -> object:
    return app(["animate", *words], standalone_mode=False)


@pytest.fixture
def goat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file with an asset, in the folder where commands run."""
    asset = splat(1, count=60)
    write_ply(tmp_path / "goat.ply", replace(asset, log_scales=asset.log_scales - 3.0))
    monkeypatch.chdir(tmp_path)
    return "goat.ply"


def test_one_command_makes_a_video_and_the_next_finds_it_done(
    goat: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prior = save_tiny(tmp_path / "prior")
    line = (goat, "a walking goat", "-o", "out/goat.mp4", "--prior", prior, "--seconds", "1", "--facing", "+x")
    animate(*line)
    assert len(read_video(tmp_path / "out" / "goat.mp4", 512, 512)) == 16
    run = tmp_path / "out" / "goat_run"
    assert (run / "motion" / "complete.json").exists() and not (run / "lora").exists()
    assert "refine --run" in capsys.readouterr().out.replace("\n", " ")
    before = (run / "motion" / "complete.json").read_bytes()
    animate(*line)
    assert (run / "motion" / "complete.json").read_bytes() == before


def test_what_reconstruct_is_told_of_a_file_animate_is_told_too(goat: str, tmp_path: Path) -> None:
    splat_with_a_floor = asset_path("splats", "playbot.ply")
    reading = ("--drop-floor", "--facing", "+z", "--up-axis", "y")
    prior = save_tiny(tmp_path / "prior")
    animate(str(splat_with_a_floor), "a robot nods", "-o", "robot.mp4", "--prior", prior, "--seconds", "0.5", *reading)
    asset = read_ply(tmp_path / "robot_run" / "asset" / "canonical.ply")
    assert 500 < asset.num_gaussians < 700
    with pytest.raises(BadInput, match="no poses"):
        animate(goat, "a walking goat", "-o", "goat.mp4", "--pose", "Idle")


def test_what_cannot_be_written_is_refused_before_anything_is_done(goat: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no format"):
        animate(goat, "a walking goat", "-o", "goat.avi")
    with pytest.raises(BadInput, match="needs a sentence"):
        animate(goat, " ", "-o", "goat.mp4")
    assert not (tmp_path / "goat_run").exists()


@pytest.mark.slow
def test_a_prior_whose_objective_compares_gets_its_lora(goat: str, tmp_path: Path) -> None:
    tiny_prior().save(tmp_path / "video")
    animate(goat, "a walking goat", "-o", "goat.mp4", "--prior", str(tmp_path / "video"))
    assert (tmp_path / "goat_run" / "lora" / "complete.json").exists()
