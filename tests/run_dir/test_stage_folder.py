"""A stage's folder survives everything: crashes, damage, full disks; and refuses what it should."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from stages.errors import CannotWrite, CorruptCheckpoint, NotFinite, SettingsDiffer
from stages.run_dir import StageFolder, stage_folder

SETTINGS = {"guidance": 4.0, "field": {"features": 16}, "steps": 10}


def begin(folder: StageFolder, settings: dict | None = None, steps: int = 10, force: bool = False):  # type: ignore[no-untyped-def, type-arg]
    return folder.begin(config=settings or SETTINGS, inputs={"asset": "abc"}, total_steps=steps, force=force)


def test_from_scratch_to_done(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path / "motion")
    assert not begin(folder).done and not folder.is_complete()
    folder.write_result("field.safetensors", {"a": torch.arange(3.0)}, {"prompt": "a goat"})
    folder.finish(10)
    assert begin(folder).done and folder.is_complete()
    tensors, metadata = folder.read_result("field.safetensors")
    assert torch.equal(tensors["a"], torch.arange(3.0)) and metadata == {"prompt": "a goat"}
    assert not begin(folder, steps=20).done  # a farther target goes on


def test_differences_are_named_and_forced(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path / "motion")
    begin(folder)
    folder.log_metrics(1, loss=0.5)
    with pytest.raises(SettingsDiffer, match=r"field\.features: 16 -> 32; guidance: 4\.0 -> 7\.5.*--force"):
        begin(folder, {"guidance": 7.5, "field": {"features": 32}, "steps": 10})
    with pytest.raises(SettingsDiffer, match="asset: 'abc' -> 'xyz'"):
        folder.begin(config=SETTINGS, inputs={"asset": "xyz"}, total_steps=10, force=False)
    folder.save_checkpoint(4, {"a": torch.zeros(1)}, {})
    assert begin(folder, {"guidance": 7.5, "steps": 10}, force=True).resume_step == 0


def test_a_try_that_failed_before_its_first_step_binds_nothing(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path / "motion")
    begin(folder)
    assert not begin(folder, {"guidance": 7.5, "steps": 10}).done
    assert json.loads((folder.path / "config.json").read_text())["settings"]["guidance"] == 7.5


def test_a_name_is_compared_by_what_it_names(tmp_path: Path) -> None:
    """A model moved to another folder is the same model; another one under the same name is not."""
    folder = StageFolder(tmp_path / "motion")

    def begin_with(prior: str, fingerprint: str) -> None:
        folder.begin(config={"prior": prior}, inputs={"prior": fingerprint}, total_steps=10, force=False)

    begin_with("here", "abc")
    folder.log_metrics(1, loss=0.5)
    begin_with("there", "abc")
    with pytest.raises(SettingsDiffer, match="prior: 'abc' -> 'xyz'"):
        begin_with("there", "xyz")


def test_a_nearer_target_than_the_progress_is_refused(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path / "motion")
    begin(folder)
    folder.save_checkpoint(8, {"a": torch.zeros(1)}, {})
    with pytest.raises(SettingsDiffer, match=r"reached step 8, beyond --steps 5\. Use --steps 8"):
        begin(folder, steps=5)
    assert begin(folder, steps=8).resume_step == 8
    folder.finish(8)
    assert begin(folder, steps=5).done


def test_config_holds_everything_and_compares_what_matters(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path / "motion")
    begin(folder)
    settings = json.loads((folder.path / "config.json").read_text())["settings"]
    assert settings == {"guidance": 4.0, "field.features": 16, "steps": 10}
    assert not begin(folder, {**SETTINGS, "steps": 20, "device": "cuda"}, steps=20).done


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path / "motion")
    begin(folder)
    folder.save_checkpoint(4, {"a": torch.zeros(1)}, {})
    half = folder.path / "checkpoints" / ".step_000006.123.part"
    half.mkdir()
    (half / "state.safetensors").write_bytes(b"half")
    (folder.path / ".field.safetensors.123.part").write_bytes(b"half")
    (folder.path / "checkpoints" / "step_000009 set aside").mkdir()  # by a person: not a checkpoint
    assert begin(folder).resume_step == 4
    assert not list(folder.path.rglob("*.part"))
    (folder.path / "config.json").unlink()
    assert begin(folder).resume_step == 0  # whose settings were these checkpoints?


def test_checkpoints_resume_prune_and_round_trip(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path / "motion")
    begin(folder)
    for step in (2, 4, 6):
        folder.log_metrics(step, loss=1.0 / step)
        folder.save_checkpoint(step, {"a": torch.full((2,), float(step))}, {"note": step})
    folder.log_metrics(7, loss=0.1)
    assert sorted(p.name for p in (folder.path / "checkpoints").iterdir()) == ["step_000004", "step_000006"]
    assert begin(folder).resume_step == 6
    step, tensors, state = folder.load_checkpoint()
    assert step == 6 and torch.equal(tensors["a"], torch.full((2,), 6.0)) and state["note"] == 6
    logged = [json.loads(line)["step"] for line in (folder.path / "metrics.jsonl").read_text().splitlines()]
    assert logged == [2, 4, 6]  # step 7 will be written again


@pytest.mark.parametrize("damage", ["cut", "flip", "missing", "state"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, damage: str) -> None:
    folder = StageFolder(tmp_path / "motion")
    begin(folder)
    folder.save_checkpoint(3, {"a": torch.arange(100.0)}, {})
    weights = folder.path / "checkpoints" / "step_000003" / "state.safetensors"
    content = bytearray(weights.read_bytes())
    if damage == "cut":
        weights.write_bytes(content[:-8])
    elif damage == "flip":
        content[-1] ^= 1
        weights.write_bytes(content)
    elif damage == "missing":
        weights.unlink()
    else:
        weights.with_name("state.json").write_text("{")
    with pytest.raises(CorruptCheckpoint, match="step_000003"):
        folder.load_checkpoint()


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path / "motion")
    path = folder.write_result("field.safetensors", {"a": torch.arange(100.0)}, {})
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CorruptCheckpoint, match=r"field\.safetensors cannot be read"):
        folder.read_result("field.safetensors")
    path.unlink()
    with pytest.raises(CorruptCheckpoint, match=r"field\.safetensors cannot be read: No such file"):
        folder.result_hash("field.safetensors")


def test_killed_while_writing_leaves_a_good_checkpoint(tmp_path: Path) -> None:
    """kill -9 at a random moment of a process that does nothing but write checkpoints."""
    code = f"""
        import torch
        from pathlib import Path
        from stages.run_dir import StageFolder
        folder = StageFolder(Path({str(tmp_path / "motion")!r}))
        step = 0
        while True:
            step += 1
            folder.save_checkpoint(step, {{"a": torch.full((200_000,), float(step))}}, {{}})
            print(step, flush=True)
    """
    for wait in (0.05, 0.13):
        command = [sys.executable, "-c", textwrap.dedent(code)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(wait)
            process.send_signal(signal.SIGKILL)
        step, tensors, _ = StageFolder(tmp_path / "motion").load_checkpoint()
        assert step >= 1 and (tensors["a"] == step).all()


def test_a_full_disk_is_one_error_and_keeps_the_old_files(tmp_path: Path) -> None:
    """A file size limit makes the system refuse the write, as a full disk does."""
    folder = StageFolder(tmp_path / "motion")
    folder.save_checkpoint(1, {"a": torch.zeros(10)}, {})
    code = f"""
        import resource, signal, sys, torch
        from pathlib import Path
        from stages.errors import CannotWrite
        from stages.run_dir import StageFolder
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        folder = StageFolder(Path({str(folder.path)!r}))
        for write in (lambda: folder.save_checkpoint(2, {{"a": torch.zeros(100_000)}}, {{}}),
                      lambda: folder.write_result("field.safetensors", {{"a": torch.zeros(100_000)}}, {{}})):
            try:
                write()
            except CannotWrite as error:
                assert str(folder.path) in str(error)
            else:
                sys.exit("no error")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert folder.load_checkpoint()[0] == 1
    assert not list(folder.path.rglob("*.part"))


def test_an_impossible_folder_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="Cannot write"):
        begin(StageFolder(tmp_path / "file" / "motion"))


def test_what_differs_from_the_defaults_is_noted_but_compared_by_nobody(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path / "motion")
    usual = {"guidance": 1.0, "field": {"features": 16}, "steps": 10}
    folder.begin(config=SETTINGS, defaults=usual, inputs={}, total_steps=10, force=False)
    assert json.loads((folder.path / "config.json").read_text())["changed"] == {"guidance": 4.0}
    folder.begin(config=SETTINGS, defaults=SETTINGS, inputs={}, total_steps=10, force=False)
    assert json.loads((folder.path / "config.json").read_text())["changed"] == {}


def test_the_same_result_is_the_same_bytes(tmp_path: Path) -> None:
    """safetensors by itself writes metadata in another order every time."""
    folder, tensors = StageFolder(tmp_path / "motion"), {"a": torch.arange(3.0)}
    metadata = {f"name{i}": str(i) for i in range(8)}
    hashes, files = set(), set()
    for _ in range(6):
        folder.write_result("field.safetensors", tensors, metadata)
        hashes.add(folder.result_hash("field.safetensors"))
        files.add((tmp_path / "motion" / "field.safetensors").read_bytes())
    assert len(hashes) == len(files) == 1
    with safe_open(tmp_path / "motion" / "field.safetensors", framework="pt") as file:
        assert file.metadata() == metadata and torch.equal(file.get_tensor("a"), tensors["a"])
    folder.write_result("field.safetensors", tensors, metadata | {"name0": "1"})
    hashes.add(folder.result_hash("field.safetensors"))
    folder.write_result("field.safetensors", {"a": torch.arange(3.0) + 1}, metadata)
    hashes.add(folder.result_hash("field.safetensors"))
    assert len(hashes) == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_never_counts_as_done(tmp_path: Path, value: float) -> None:
    """The tensor or metric is named, and the last good checkpoint stays."""
    folder = StageFolder(tmp_path / "motion")
    begin(folder)
    folder.save_checkpoint(4, {"parameter/a": torch.zeros(3)}, {})
    bad = torch.tensor([0.0, value])
    for work in (
        lambda: folder.save_checkpoint(8, {"parameter/a": bad}, {}),
        lambda: folder.write_result("motion.safetensors", {"parameter/a": bad}, {}),
        lambda: folder.log_metrics(8, **{"parameter/a": value}),
    ):
        with pytest.raises(NotFinite, match=r"parameter/a.*checkpoint of step 4") as told:
            work()
        assert "--force" in told.value.hint and told.value.exit_code == 10
    assert folder.last_checkpoint() == 4 and folder.load_checkpoint()[0] == 4
    assert not (folder.path / "motion.safetensors").exists() and not folder.is_complete()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"learning_rate": 1e-3, "steps": 3}, ["learning_rate"]),  # distill, refine, fit-lora, train-prior
        ({"means_rate": 1e-3, "sh_rate": 1e-2, "steps": 3}, ["means_rate", "sh_rate"]),  # reconstruct, from photos
        ({"steps": 3}, []),
    ],
)
def test_the_way_out_of_what_is_not_finite_names_settings_that_the_stage_has(
    tmp_path: Path, settings: dict[str, float], named: list[str]
) -> None:
    folder = StageFolder(tmp_path / "motion")
    begin(folder, settings)
    with pytest.raises(NotFinite) as told:
        folder.log_metrics(1, loss=float("nan"))
    assert re.findall(r"--set (\w+)=", told.value.hint) == named
    assert "--force" in told.value.hint and "--seed" in told.value.hint


def test_metrics_are_on_the_disk_before_the_checkpoint_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut could leave a checkpoint of step 4 and lose the lines before it."""
    folder = StageFolder(tmp_path / "motion")
    begin(folder)
    written: list[tuple[str, bool]] = []  # what, and whether the checkpoint was there already

    def note(path: Path) -> None:
        written.append((path.name, folder.last_checkpoint() == 4))

    monkeypatch.setattr(stage_folder, "to_disk", note)
    folder.log_metrics(4, loss=0.5)
    folder.save_checkpoint(4, {"a": torch.zeros(1)}, {})
    assert ("metrics.jsonl", False) in written and ("checkpoints", True) in written


def test_a_stage_of_an_earlier_format_asks_for_force(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path / "motion")
    begin(folder)
    folder.finish(10)
    config = json.loads((folder.path / "config.json").read_text())
    assert config.pop("format") == 2 and config.pop("seal")
    (folder.path / "config.json").write_text(json.dumps(config))
    with pytest.raises(SettingsDiffer) as told:
        begin(folder)
    assert "--force" in told.value.hint
    assert not begin(folder, force=True).done


def test_a_setting_that_an_earlier_version_did_not_have_was_as_usual(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path / "motion")
    begin(folder)
    folder.finish(10)
    usual, inputs = {**SETTINGS, "travel": "none"}, {"asset": "abc"}
    again = folder.begin(config=usual, defaults=usual, inputs=inputs, total_steps=10, force=False)
    assert again.done
    with pytest.raises(SettingsDiffer, match="travel: 'none' -> 'auto'"):
        folder.begin(config={**usual, "travel": "auto"}, defaults=usual, inputs=inputs, total_steps=10, force=False)
