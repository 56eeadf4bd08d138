"""track from the command line: it follows the bones, is physics and no puppet, goes on to the same bytes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from stages.assets import asset_path
from stages.events import Event, Progress, silent
from stages.moving.asset import load_moving_asset
from stages.run_dir import RunDir
from tests.e2e.command import animus3d

pytest.importorskip("newton")

FEW = ("--set", "physics.knot_hz=24")


@pytest.fixture(scope="module")
def fox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a short motion of bones."""
    run = tmp_path_factory.mktemp("track") / "fox"
    animus3d("reconstruct", asset_path("rigged", "Fox.glb"), "--num-gaussians", 800, "--run", run)
    animus3d("rig", "--max-bones", 6, "--run", run)
    animus3d(
        "distill", "--motion", "skeleton", "--prompt", "a walking fox", "--steps", 2, "--seconds", 0.3, "--run", run
    )
    return run


def test_it_follows_and_what_it_writes_is_a_motion(fox: Path, tmp_path: Path) -> None:
    run = tmp_path / "fox"
    shutil.copytree(fox, run)
    said = animus3d("track", "--iterations", 3, *FEW, "--run", run).stdout
    assert "upright" in said
    asset = load_moving_asset(RunDir(run), "auto", "cpu")
    assert asset.source == "tracked" and not asset.closes and asset.timing is not None
    assert asset.timing.seconds == pytest.approx(0.3)
    lines = [json.loads(line) for line in (run / "tracked" / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 3 and min(line["loss"] for line in lines) <= lines[0]["loss"]
    assert "already done" in animus3d("track", "--iterations", 3, *FEW, "--run", run).stdout
    animus3d("render", "--ground", "--frames", 3, "--size", 64, tmp_path / "out.mp4", "--run", run)


def test_the_controls_make_the_same_motion_again(fox: Path, tmp_path: Path) -> None:
    from stages.motion.bones import rig_of
    from stages.skeletons.physics import replay
    from stages.track import CONTROLS, RUN_ON_S, controls_of

    run = tmp_path / "fox"
    shutil.copytree(fox, run)
    animus3d("track", "--iterations", 2, *FEW, "--run", run)
    controls = controls_of(*RunDir(run).stage("tracked").read_result(CONTROLS))
    asset = load_moving_asset(RunDir(run), "tracked", "cpu")
    rig = rig_of(asset.motion)
    assert rig is not None and asset.motion is not None
    frames = asset.motion.config.frames  # type: ignore[attr-defined]
    again = replay(rig, controls, frames + round(48 * RUN_ON_S))
    rotations, shift = asset.pose(torch.linspace(0.0, 1.0, frames))
    torch.testing.assert_close(again.shift[:frames], shift, rtol=0, atol=1e-5)
    torch.testing.assert_close(again.rotations[:frames], rotations, rtol=0, atol=1e-4)


def test_interrupted_it_goes_on_to_the_same_bytes(fox: Path, tmp_path: Path) -> None:
    from stages import track
    from stages.settings import with_settings

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for run in (whole, cut):
        shutil.copytree(fox, run)
    settings = {"physics.iterations": 4, "physics.knot_hz": 24.0, "checkpoint_every": 2}
    config = with_settings(track.PRESETS["default"], settings)
    track.run(RunDir(whole), config, silent)

    def stop(event: Event) -> None:
        if isinstance(event, Progress) and event.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        track.run(RunDir(cut), config, stop)
    assert not RunDir(cut).stage("tracked").is_complete()
    track.run(RunDir(cut), config, silent)
    for name in ("motion.safetensors", "controls.safetensors"):
        assert (whole / "tracked" / name).read_bytes() == (cut / "tracked" / name).read_bytes()


def test_what_has_no_bones_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "deer"
    animus3d("reconstruct", asset_path("splats", "deer.ply"), "--run", run)
    animus3d("track", "--run", run, code=4)
    animus3d("distill", "--prompt", "a walking deer", "--steps", 1, "--run", run)
    assert "--motion skeleton" in animus3d("track", "--run", run, code=3).stderr
