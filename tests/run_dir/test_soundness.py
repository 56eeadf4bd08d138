"""Damage is found, named and mended where that can be done; what has no hashes is taken as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from stages.errors import CorruptCheckpoint
from stages.events import Caution, Event
from stages.files import read_json, sealed, write_json
from stages.run_dir import Begin, RunDir, StageFolder
from tests.gaussians.test_ply import splat


def flip(path: Path, bit: int = 3) -> None:
    """Another bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1 << bit
    path.write_bytes(content)


def begin(folder: StageFolder, said: list[Event], steps: int = 4) -> Begin:
    return folder.begin(config={"rate": 1.0}, inputs={}, total_steps=steps, force=False, report=said.append)


def stage(path: Path, checkpoints: tuple[int, ...] = (2, 4)) -> StageFolder:
    """A finished stage."""
    folder = StageFolder(path / "motion")
    begin(folder, [])
    for step in checkpoints:
        folder.log_metrics(step, loss=1.0)
        folder.save_checkpoint(step, {"a": torch.full((50,), float(step))}, {})
    (folder.path / "preview.mp4").write_bytes(b"a video" * 9)
    folder.write_result("motion.safetensors", {"a": torch.arange(50.0)}, {})
    folder.finish(4)
    return folder


def test_a_sealed_file_is_believed_as_long_as_it_is_as_written(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": 1.25, "a": [1, (2, None)], 3: "ü", 10: Path("x")}, seal=True)
    value = read_json(path)
    assert value is not None and value["a"] == [1, [2, None]] and value["3"] == "ü"
    path.write_text(path.read_text().replace("1.25", "1.35"))
    with pytest.raises(CorruptCheckpoint, match=r"a\.json is damaged"):
        read_json(path)
    plain = {key: item for key, item in value.items() if key != "seal"} | {"b": 1.35}
    path.write_text(json.dumps(plain))  # a person who edits it takes the seal out
    assert read_json(path) == plain and sealed(plain) != value


def test_a_damaged_result_is_named_and_made_again(tmp_path: Path) -> None:
    folder, said = stage(tmp_path), list[Event]()
    assert begin(folder, said).done and said == []
    folder.read_result("motion.safetensors")
    flip(folder.path / "motion.safetensors")
    with pytest.raises(CorruptCheckpoint, match=r"motion\.safetensors is damaged.*distill"):
        folder.read_result("motion.safetensors")
    assert begin(folder, said) == Begin(done=False, resume_step=4)  # from its last checkpoint
    assert [type(event) for event in said] == [Caution] and "motion.safetensors" in str(said[0])
    assert not folder.is_complete()


def test_a_damaged_preview_is_told_and_changes_nothing(tmp_path: Path) -> None:
    folder, said = stage(tmp_path), list[Event]()
    flip(folder.path / "preview.mp4")
    assert begin(folder, said).done
    assert [type(event) for event in said] == [Caution] and "preview.mp4" in str(said[0])
    folder.read_result("motion.safetensors")


@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
def test_the_checkpoint_before_a_damaged_one_is_used(tmp_path: Path, name: str) -> None:
    folder, said = stage(tmp_path), list[Event]()
    (folder.path / "complete.json").unlink()
    flip(folder.path / "checkpoints" / "step_000004" / name)
    assert begin(folder, said).resume_step == 2
    assert [type(event) for event in said] == [Caution] and "step_000004" in str(said[0])
    assert folder.load_checkpoint()[0] == 2
    assert '"step": 4' not in (folder.path / "metrics.jsonl").read_text()
    flip(folder.path / "checkpoints" / "step_000002" / name)
    with pytest.raises(CorruptCheckpoint, match="step_000002"):
        begin(folder, said)
    assert (folder.path / "checkpoints" / "step_000002").exists()  # nothing is thrown away unasked


def test_damaged_metrics_are_told(tmp_path: Path) -> None:
    folder, said = stage(tmp_path), list[Event]()
    (folder.path / "complete.json").unlink()
    folder.log_metrics(5, loss=1.0)  # killed after its last checkpoint
    assert begin(folder, said).resume_step == 4 and said == []
    path = folder.path / "metrics.jsonl"
    path.write_text(path.read_text().replace("1.0", "1.4", 1))
    assert begin(folder, said).resume_step == 4
    assert [type(event) for event in said] == [Caution] and "metrics.jsonl" in str(said[0])


@pytest.mark.parametrize("line", [b'{"step": 2, "l\xecss": 1.0}', b"\xff", b"3", b'{"step": "2"}', b"[" * 100_000])
def test_metrics_of_any_bytes_stop_nothing(tmp_path: Path, line: bytes) -> None:
    folder, said = stage(tmp_path), list[Event]()
    (folder.path / "complete.json").unlink()
    path = folder.path / "metrics.jsonl"
    path.write_bytes(line + b"\n" + path.read_bytes())
    assert begin(folder, said).resume_step == 4
    assert [type(event) for event in said] == [Caution] and "metrics.jsonl" in str(said[0])
    assert path.read_text().count('"loss": 1.0') == 2


def test_a_stage_that_goes_on_is_not_taken_for_damaged(tmp_path: Path) -> None:
    """Between a finished stage and its farther end its files change."""
    folder, said = stage(tmp_path), list[Event]()
    assert begin(folder, said, steps=6).resume_step == 4
    folder.log_metrics(6, loss=1.0)
    folder.write_result("motion.safetensors", {"a": torch.arange(50.0) + 1.0}, {})
    folder.read_result("motion.safetensors")  # killed here: the result is whole
    assert begin(folder, said, steps=6).resume_step == 4 and said == []
    folder.finish(6)
    flip(folder.path / "motion.safetensors")
    with pytest.raises(CorruptCheckpoint):
        folder.read_result("motion.safetensors")


def test_what_was_made_before_there_were_hashes_is_taken_as_it_is(tmp_path: Path) -> None:
    folder, said = stage(tmp_path), list[Event]()
    for name in ("complete.json", "config.json"):
        value = json.loads((folder.path / name).read_text())
        (folder.path / name).write_text(json.dumps({k: v for k, v in value.items() if k not in ("files", "seal")}))
    folder.write_result("motion.safetensors", {"a": torch.zeros(2)}, {})
    assert begin(folder, said).done and said == []
    assert len(folder.read_result("motion.safetensors")[0]["a"]) == 2


def test_checkpoints_that_a_killed_process_has_not_removed_go(tmp_path: Path) -> None:
    folder = stage(tmp_path, (2, 3, 4))
    shown = sorted(path.name for path in (folder.path / "checkpoints").iterdir())
    assert shown == ["step_000003", "step_000004"]
    (folder.path / "complete.json").unlink()
    (folder.path / "checkpoints" / "step_000001").mkdir()  # killed between the rename and the removal
    begin(folder, [])
    assert sorted(path.name for path in (folder.path / "checkpoints").iterdir()) == shown


def test_a_damaged_asset_is_named_and_made_again(tmp_path: Path) -> None:
    run, asset, said = RunDir(tmp_path), splat(1, count=20), list[Event]()
    run.put_asset(asset, "asset.ply", force=False)
    whole = run.canonical_ply.read_bytes()
    (tmp_path / "motion").mkdir()
    flip(run.canonical_ply)
    with pytest.raises(CorruptCheckpoint, match=r"canonical\.ply is damaged.*reconstruct asset\.ply"):
        run.load_asset()
    assert run.asset_is_damaged()
    assert not run.put_asset(asset, "asset.ply", force=False, report=said.append)
    assert [type(event) for event in said] == [Caution] and run.canonical_ply.read_bytes() == whole
    assert (tmp_path / "motion").exists() and run.load_asset().num_gaussians == 20
