"""Videos as guides, and samples that are videos: from the command line, on a real rigged fox."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from stages import distill_videos
from stages.assets import asset_path
from stages.events import Event, Progress, silent
from stages.run_dir import RunDir
from stages.settings import with_settings
from tests.e2e.command import animus3d

FOX = asset_path("rigged", "Fox.glb")
SMALL = ("--set", "given.frames=5", "--set", "given.size_px=96", "--set", "render_px=32", "--set", "preview_every=0")


@pytest.fixture(scope="module")
def fox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a small fox, a still of it, and a video of its own walk from there."""
    folder = tmp_path_factory.mktemp("videos")
    run = folder / "fox"
    animus3d("reconstruct", FOX, "--num-gaussians", 600, "--run", run)
    animus3d("still", "--azimuth", 45, "--size", "160x128", "--out", folder / "fox.png", "--run", run)
    film = ("render", "--source", f"{FOX}#Walk", "--camera", folder / "fox.json", "--frames", 6)
    animus3d(*film, folder / "walk.mp4", "--run", run)
    return folder


def follow(fox: Path, run: Path, *options: object, code: int = 0) -> str:
    given = ("--video", fox / "walk.mp4", "--camera", fox / "fox.json")
    printed = animus3d(
        "distill", "--objective", "match", *given, "--run", run, "--from", fox / "fox", *SMALL, *options, code=code
    )
    return printed.stdout + printed.stderr


def test_a_video_moves_the_asset_and_the_rest_of_the_program_takes_it(fox: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    follow(fox, run, "--steps", 12)
    tensors, metadata = RunDir(run).stage("motion").read_result("motion.safetensors")
    assert float(metadata["seconds"]) == pytest.approx(6 / 16), "as long as the video"
    assert metadata["kind"] == "hexplane" and all(one.isfinite().all() for one in tensors.values())
    logged = [json.loads(line) for line in (run / "motion" / "metrics.jsonl").read_text().splitlines()]
    assert {"flow", "rgb", "mask", "arap", "sideways"} <= set(logged[0])
    assert logged[-1]["flow"] < logged[0]["flow"]
    animus3d("render", "--frames", 3, "--size", "64x64", tmp_path / "out.mp4", "--run", run)
    assert (tmp_path / "out.mp4").stat().st_size > 0
    again = follow(fox, run, "--steps", 12)
    assert "already done" in again
    moved = tmp_path / "moved.mp4"
    moved.write_bytes((fox / "walk.mp4").read_bytes())
    same = animus3d("distill", "--video", moved, "--camera", fox / "fox.json", "--run", run, *SMALL, "--steps", 12)
    assert "already done" in same.stdout + same.stderr, "the same video at another place"


def test_with_a_sentence_the_points_prior_speaks_for_what_is_hidden(fox: Path, tmp_path: Path) -> None:
    said = follow(fox, tmp_path / "run", "--steps", 2, "--prompt", "a walking fox")
    assert "points prior" in said


def test_interrupted_it_goes_on_to_the_same_bytes(fox: Path, tmp_path: Path) -> None:
    config = with_settings(
        distill_videos.PRESETS["default"],
        {
            "given.videos": (str(fox / "walk.mp4"),), "given.cameras": (str(fox / "fox.json"),), "given.frames": 5,
            "given.size_px": 96, "render_px": 32, "preview_every": 0, "checkpoint_every": 2, "steps": 5,
        },
    )  # fmt: skip
    whole, cut = RunDir(tmp_path / "whole"), RunDir(tmp_path / "cut")
    for run in (whole, cut):
        run.copy_from(RunDir(fox / "fox"), before="distill")
    distill_videos.run(whole, config, silent)

    def stop(event: Event) -> None:
        if isinstance(event, Progress) and event.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill_videos.run(cut, config, stop)
    assert not cut.stage("motion").is_complete() and cut.stage("motion").last_checkpoint() == 2
    distill_videos.run(cut, config, silent)
    results = [run.path / "motion" / "motion.safetensors" for run in (whole, cut)]
    assert results[0].read_bytes() == results[1].read_bytes()


def test_what_does_not_go_with_a_video_is_refused(fox: Path, tmp_path: Path) -> None:
    assert "--objective" in follow(fox, tmp_path / "a", "--objective", "msd", code=2)
    assert "--then" in follow(fox, tmp_path / "b", "--then", "it jumps", code=2)
    missing = animus3d(
        "distill", "--video", tmp_path / "no.mp4", "--run", tmp_path / "c", "--from", fox / "fox", code=3
    )
    assert "no.mp4" in missing.stderr


def test_samples_of_four_views_are_matched_and_refined(fox: Path, tmp_path: Path) -> None:
    run, bank = tmp_path / "run", ("--prior", "exact-views", "--bank", FOX)
    small = ("--set", "size_px=32")
    said = animus3d(
        "sample", "--prompt", "a walking fox", *bank, "--count", 2, "--run", run, "--from", fox / "fox", *small
    )
    assert "for tests" in said.stdout + said.stderr
    tensors, metadata = RunDir(run).stage("samples").read_result("samples.safetensors")
    assert tensors["rgb"].shape == (2, 4, 16, 32, 32, 3) and metadata["kind"] == "video"
    assert tensors["viewmats"].shape == (4, 4, 4)
    assert not torch.equal(tensors["rgb"][0], tensors["rgb"][1]), "two phases"
    assert (run / "samples" / "sample_2_view_4.mp4").exists() and (run / "samples" / "samples.png").exists()
    matched = animus3d("distill", "--objective", "match", "--sample", 1, "--steps", 3, "--run", run, *SMALL)
    assert "cameras see" in matched.stdout + matched.stderr
    assert RunDir(run).stage("motion").read_result("motion.safetensors")[1]["prompt"] == "a walking fox"
    animus3d("refine", "--objective", "4d-sds", *bank, "--steps", 2, "--run", run, *small, "--set", "num_azimuths=1")
    logged = [json.loads(line) for line in (run / "refined" / "metrics.jsonl").read_text().splitlines()]
    assert logged[0]["score"] > 0.0
    nothing = animus3d("distill", "--sample", 3, "--run", run, "--force", code=3)
    assert "There is no sample 3" in nothing.stderr


def test_the_exact_prior_needs_a_bank(fox: Path, tmp_path: Path) -> None:
    run = ("--run", tmp_path / "run", "--from", fox / "fox")
    assert "--bank" in animus3d("sample", "--prompt", "a fox walks", "--prior", "exact-views", *run, code=3).stderr
