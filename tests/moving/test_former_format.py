"""Runs of format 1, whose fields were in the file's units and turned Gaussians by themselves, can still be shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stages.conventions import frame_times
from stages.errors import BadInput
from stages.events import Event, Note
from stages.export import ExportConfig
from stages.export import run as export
from stages.gaussians import Gaussians
from stages.motion.hexplane import HexPlane
from stages.moving.asset import load_moving_asset
from stages.run_dir import RunDir
from tests.exporting.runs import small_splat
from tests.motion.test_hexplane import moving_field


def former_run(folder: Path, asset: Gaussians) -> tuple[RunDir, HexPlane]:
    """A run as version 1 left it, and its field in the file's units."""
    run = RunDir(folder)
    run.put_asset(asset, "goat.ply", force=True)
    manifest = json.loads((folder / "run.json").read_text())
    del manifest["seal"]
    (folder / "run.json").write_text(json.dumps(manifest | {"format": 1}))
    field = moving_field(asset)
    tensors = field.tensors()
    for name in ("decoder.2.weight", "decoder.2.bias"):  # three numbers more: a rotation
        tensors[name] = torch.cat([tensors[name], torch.randn_like(tensors[name])])
    metadata = {"field": field.metadata()["field"], "prompt": "a goat"}
    run.stage("motion").write_result("field.safetensors", tensors, metadata)
    run.stage("motion").finish(1)
    return RunDir(folder), field


def test_it_moves_as_it_did_and_says_once_what_is_ignored(tmp_path: Path) -> None:
    asset = replace(small_splat(), means=40.0 * small_splat().means + 3.0)
    run, field = former_run(tmp_path / "run", asset)
    said: list[Event] = []
    moving = load_moving_asset(run, "auto", "cpu", said.append)
    notes = [event.text for event in said if isinstance(event, Note)]
    assert len(notes) == 1 and "ignored" in notes[0]
    times = frame_times(5)
    with torch.no_grad():
        expected = asset.means + field.displacements(asset.means, times)
    found = moving.in_file(moving.at(times)).means
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_it_is_exported(tmp_path: Path) -> None:
    run, _ = former_run(tmp_path / "run", small_splat())
    said: list[Event] = []
    out = export(run, ExportConfig(format="ply-sequence", frames=2), said.append, out=tmp_path / "goat.ply")
    assert out.exists() and sum(isinstance(event, Note) and "ignored" in event.text for event in said) == 1


def test_a_kind_of_motion_from_the_future_is_refused(tmp_path: Path) -> None:
    run, field = former_run(tmp_path / "run", small_splat())
    (run.path / "motion" / "field.safetensors").unlink()
    run.stage("motion").write_result("motion.safetensors", field.tensors(), field.metadata() | {"kind": "waves"})
    with pytest.raises(BadInput, match="waves"):
        load_moving_asset(run, "auto", "cpu")


def test_a_refined_motion_of_another_motion_is_skipped(tmp_path: Path) -> None:
    run, field = former_run(tmp_path / "run", small_splat())
    run.stage("refined").write_result("motion.safetensors", field.tensors(), field.metadata())
    (run.path / "refined" / "config.json").write_text(json.dumps({"inputs": {"motion": "0123456789abcdef"}}))
    run.stage("refined").finish(1)
    said: list[Event] = []
    assert load_moving_asset(run, "auto", "cpu", said.append).source == "motion"
    assert any("refined" in getattr(event, "text", "") for event in said)
    current = run.stage("motion").result_hash("motion.safetensors")
    (run.path / "refined" / "config.json").write_text(json.dumps({"inputs": {"motion": current}}))
    assert load_moving_asset(run, "auto", "cpu").source == "refined"
