"""status tells the truth at every moment: before, during, after; and changes nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from animus3d_cli.console import Console
from stages.errors import MissingStage
from stages.gaussians.formats.ply import write_ply
from stages.run_dir import RunDir
from stages.status import RunStatus, StageStatus
from stages.status import run as status
from tests.e2e.test_pipeline import animus3d, environment
from tests.gaussians.test_ply import splat
from tests.priors.test_embedded import tiny_prior


def of(found: RunStatus, folder: str) -> StageStatus:
    (one,) = [stage for stage in found.stages if stage.folder == folder]
    return one


def everything(path: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in path.rglob("*")}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    run.put_asset(splat(1, count=30), "goat.ply", force=False)
    return run


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingStage, match="reconstruct FILE"):
        status(RunDir(tmp_path / "nowhere"))


def test_states_from_not_begun_to_outdated(run: RunDir) -> None:
    found = status(run)
    assert [stage.state for stage in found.stages] == ["complete"] + 7 * ["not begun"]
    assert found.num_gaussians == 30 and found.source == "goat.ply" and found.next.startswith("animus3d distill")
    folder = run.stage("motion")
    settings = {"prompt": "a 'sly' goat", "steps": 40, "field": {"features": 8, "multires": [1, 2]}, "quiet": True}
    usual = {"prompt": "", "steps": 40, "field": {"features": 16, "multires": [1]}, "quiet": False}
    inputs = {"asset": run.asset_hash()}
    folder.begin(config=settings, defaults=usual, inputs=inputs, total_steps=40, force=False)
    for step in range(1, 26):
        folder.log_metrics(step, loss=1.0)
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2')  # as a reader may find it
    (folder.path / "checkpoints" / "step_000020").mkdir(parents=True)

    before = everything(run.path)
    found = status(run)
    motion = of(found, "motion")
    assert (motion.state, motion.step, motion.steps) == ("interrupted", 20, 40)
    changed = {"prompt": "a 'sly' goat", "field.features": 8, "field.multires": [1, 2], "quiet": True}
    assert motion.changed == changed and motion.read == inputs and motion.seconds is not None
    typed = "--set field.features=8 --set field.multires=1,2 --set quiet=true"
    assert found.next == f"""animus3d distill --prompt 'a '"'"'sly'"'"' goat' {typed} --run {run.path}"""
    with run.lock("distill"):
        found = status(run)
        assert (of(found, "motion").state, of(found, "motion").step) == ("running", 25)
        assert found.running is not None and found.running.pid == os.getpid() and "animus3d view" in found.next
    before[str(run.path / ".lock")] = (run.path / ".lock").stat().st_mtime_ns
    assert status(run).running is None  # the file still says who it was
    assert everything(run.path) == before

    (folder.path / "motion.safetensors").write_bytes(b"a field")
    folder.finish(40)
    assert of(status(run), "motion").state == "complete"
    run._write_manifest("goat.ply")
    config = json.loads((folder.path / "config.json").read_text())
    del config["seal"]
    (folder.path / "config.json").write_text(json.dumps(config | {"inputs": {"asset": "0" * 16}}))
    outdated = of(status(run), "motion")
    assert outdated.state == "outdated" and "another asset" in outdated.problem
    assert status(run).next.endswith("--force")
    (folder.path / "config.json").write_text("{")
    assert of(status(run), "motion").state == "damaged"


def make_rig(run: RunDir, hips: float) -> None:
    """As ``rig`` leaves it, with one number that differs."""
    folder = run.stage("rig")
    folder.begin(
        config={"skeleton": "auto", "max_bones": 24},
        defaults={"skeleton": None, "max_bones": 24},
        inputs={"asset": run.asset_hash()},
        total_steps=1,
        force=True,
    )
    folder.write_result("weights.safetensors", {"heads": torch.tensor([[0.0, hips, 0.0]])}, {})
    folder.finish(1)


def test_a_rig_asks_for_a_motion_and_a_new_one_outdates_it(run: RunDir) -> None:
    make_rig(run, 1.0)
    found = status(run)
    assert of(found, "rig").state == "complete" and of(found, "rig").changed == {"skeleton": "auto"}
    assert found.next == f'animus3d distill --motion skeleton --prompt "a walking goat" --run {run.path}'
    folder = run.stage("motion")
    inputs = {"asset": run.asset_hash(), "rig": run.stage("rig").result_hash("weights.safetensors")}
    config, usual = (
        {"prompt": said, "motion": {"kind": kind}} for said, kind in (("goat", "skeleton"), ("", "points"))
    )
    folder.begin(config=config, defaults=usual, inputs=inputs, total_steps=4, force=False)
    folder.write_result("motion.safetensors", {"angles": torch.zeros(1)}, {})
    folder.finish(4)
    assert of(status(run), "motion").state == "complete" and "render" in status(run).next
    make_rig(run, 1.0)  # the same again
    assert of(status(run), "motion").state == "complete"
    make_rig(run, 1.1)
    motion = of(status(run), "motion")
    assert motion.state == "outdated" and motion.problem == "made from another rig"
    again = "animus3d distill --prompt goat --set motion.kind=skeleton"
    assert status(run).next == f"{again} --run {run.path} --force"
    (run.path / "rig" / "complete.json").unlink()
    assert status(run).next == f"animus3d rig --skeleton auto --run {run.path}"


def test_the_screen_fits_80_columns(run: RunDir, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("COLUMNS", "80")
    found = status(run)
    changed = {"prompt": "a very small but very brave [goat] that jumps over everything", "steps": 1000}
    long = replace(of(found, "motion"), state="running", step=480, steps=1000, seconds=7203.0, changed=changed)
    Console().status(replace(found, stages=[*found.stages[:2], long, *found.stages[3:]]))
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines()[1:-1])) <= 80 and "[goat]" in shown
    assert "480/1000" in shown and "120:03" in shown and "…" not in shown


def test_while_distill_is_running(tmp_path: Path) -> None:
    """The real command, asked from beside: the JSON is whole, names it, and does not disturb it."""
    asset = splat(1, count=40)
    write_ply(tmp_path / "asset.ply", replace(asset, log_scales=asset.log_scales - 3.0))
    tiny_prior().save(tmp_path / "prior")
    assert animus3d("reconstruct", "asset.ply", cwd=tmp_path).returncode == 0
    line = ["distill", "--prompt=walking", "--prior", "prior", "--preset", "preview", "--steps", "100000",
            "--tensorboard", "--set", "spatial_resolution=6", "--set", "preview_every=0"]  # fmt: skip
    command = [sys.executable, "-m", "animus3d_cli", *line]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=quiet, stderr=quiet) as process:
        try:
            while process.poll() is None and not list((tmp_path / "run/motion").glob("checkpoints/step_*")):
                time.sleep(0.02)
            shown = animus3d("status", "--json", cwd=tmp_path)
            assert shown.returncode == 0, shown.stderr
            found = json.loads(shown.stdout)
            assert found["running"].items() >= {"command": "distill", "pid": process.pid}.items()
            assert found["running"]["host"] == socket.gethostname()
            (motion,) = [stage for stage in found["stages"] if stage["command"] == "distill"]
            assert motion["state"] == "running" and 0 < motion["step"] < motion["steps"] == 100000
            assert motion["changed"]["prompt"] == "walking" and found["next"] == "animus3d view"
            assert process.poll() is None
        finally:
            process.terminate()
            process.wait()
    after = animus3d("status", cwd=tmp_path)
    assert after.returncode == 0 and "interrupted" in after.stdout and "is running" not in after.stdout
    assert list((tmp_path / "run/tensorboard/distill").iterdir())


def test_damage_of_the_fit_is_named_beside_a_whole_asset(run: RunDir) -> None:
    fit = run.stage("reconstruction")
    fit.begin(config={"steps": 1}, inputs={}, total_steps=1, force=False)
    fit.save_checkpoint(1, {"a": torch.zeros(9)}, {})
    path = fit.write_result("gaussians.safetensors", {"a": torch.zeros(9)}, {})
    fit.finish(1)
    assert of(status(run), "asset").problem == ""
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    asset = of(status(run), "asset")
    assert asset.state == "complete" and "gaussians.safetensors is damaged" in asset.problem
