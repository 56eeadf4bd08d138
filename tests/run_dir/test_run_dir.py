"""The run: its asset, its lock, starting from another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stages.errors import BadInput, MissingStage, RunLocked, SettingsDiffer
from stages.files import write_json
from stages.run_dir import RunDir, resolve_run_path
from tests.gaussians.test_ply import splat


def test_the_asset_is_taken_once_and_not_replaced_silently(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    with pytest.raises(MissingStage, match="has no asset"):
        run.load_asset()
    assert run.put_asset(splat(0), "a.ply", force=False)
    assert not run.put_asset(splat(0), "a.ply", force=False)
    with pytest.raises(SettingsDiffer, match=r"another asset \(a\.ply, not b\.ply\)"):
        run.put_asset(splat(1), "b.ply", force=False)
    assert run.load_asset().sh_degree == 0
    run.stage("motion").finish(1)
    assert run.put_asset(splat(1), "b.ply", force=True)
    assert run.load_asset().sh_degree == 1 and not run.stage("motion").is_complete()


def test_two_commands_on_one_run(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    code = (
        "import sys; from pathlib import Path; from stages.run_dir import RunDir\n"
        f"with RunDir(Path({str(run.path)!r})).lock('distill'): print('held', flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunLocked, match=rf"animus3d distill \(pid {holder.pid}\)"), run.lock("refine"):
            pass
        holder.kill()
        holder.wait()
        holder.stdin.close()
    with run.lock("refine"):  # the lock died with its process
        pass


def test_from_copies_the_stages_before(tmp_path: Path) -> None:
    old, new = RunDir(tmp_path / "old"), RunDir(tmp_path / "new")
    with pytest.raises(MissingStage):
        new.copy_from(old, before="distill")
    old.put_asset(splat(), "a.ply", force=False)
    for name in ("lora", "motion"):
        old.stage(name).write_result("x.safetensors", {"a": torch.zeros(1)}, {})
        old.stage(name).finish(1)
    new.copy_from(old, before="distill")
    assert new.asset_hash() == old.asset_hash()
    assert new.stage("lora").is_complete() and not new.stage("motion").is_complete()
    with pytest.raises(MissingStage, match="Run first: animus3d distill"):
        new.require("motion")


def test_from_goes_on_after_an_interruption(tmp_path: Path) -> None:
    old, new = RunDir(tmp_path / "old"), RunDir(tmp_path / "new")
    old.put_asset(splat(), "a.ply", force=False)
    new.copy_from(old, before="fit-lora")
    old.stage("lora").write_result("x.safetensors", {"a": torch.zeros(1)}, {})
    old.stage("lora").finish(1)
    (new.path / ".lora.part").mkdir()  # where a killed copy stood
    new.copy_from(old, before="distill")
    assert new.stage("lora").is_complete() and not (new.path / ".lora.part").exists()
    other = RunDir(tmp_path / "other")
    other.put_asset(splat(1), "b.ply", force=False)
    with pytest.raises(SettingsDiffer, match="another asset"):
        other.copy_from(old, before="distill")


@pytest.mark.parametrize("links", [True, False])
def test_from_keeps_large_files_once_and_each_run_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*names: object) -> None:
        raise OSError("no links on this disk")

    old, new = RunDir(tmp_path / "old"), RunDir(tmp_path / "new")
    old.put_asset(splat(), "a.ply", force=False)
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    new.copy_from(old, before="distill")
    ours, theirs = new.canonical_ply, old.canonical_ply
    assert ours.samefile(theirs) == links and ours.read_bytes() == theirs.read_bytes()
    before = ours.read_bytes()
    old.put_asset(splat(1), "b.ply", force=True)
    assert ours.read_bytes() == before != theirs.read_bytes()


def test_the_same_file_taken_over_otherwise(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.put_asset(splat(0), "a.glb", force=False)
    with pytest.raises(SettingsDiffer, match=r"\(a\.glb, taken over otherwise\)"):
        run.put_asset(splat(1), "a.glb", force=False)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"format": 99})
    with pytest.raises(BadInput, match="newer animus3d"):
        RunDir(tmp_path)


def test_where_the_run_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANIMUS3D_RUN", raising=False)
    assert resolve_run_path(None) == Path("run")
    monkeypatch.setenv("ANIMUS3D_RUN", "elsewhere")
    assert resolve_run_path(None) == Path("elsewhere")
    assert resolve_run_path(Path("here")) == Path("here")


def test_the_source_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where run and file were moved together, and in a run that began with this one's asset."""
    (tmp_path / "here" / "sub").mkdir(parents=True)
    (tmp_path / "elsewhere" / "sub").mkdir(parents=True)
    (tmp_path / "here" / "sub" / "a.glb").write_text("mine")
    (tmp_path / "elsewhere" / "sub" / "a.glb").write_text("another")
    monkeypatch.chdir(tmp_path / "here")
    run = RunDir(Path("run"))
    run.put_asset(splat(1), "sub/a.glb", force=False)
    assert run.source() == Path("sub/a.glb")
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = RunDir(tmp_path / "here" / "run").source()
    assert found is not None and found.read_text() == "mine"
    other = RunDir(tmp_path / "deep" / "er" / "run")
    other.copy_from(RunDir(tmp_path / "here" / "run"), before="rig")
    source = other.source()
    assert source is not None and source.read_text() == "mine"
    (tmp_path / "here").rename(tmp_path / "moved")
    found = RunDir(tmp_path / "moved" / "run").source()
    assert found is not None and found.read_text() == "mine"
    (tmp_path / "moved" / "sub" / "a.glb").unlink()
    assert RunDir(tmp_path / "moved" / "run").source() == Path("sub/a.glb")
