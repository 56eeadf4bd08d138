"""``--ground`` and ``--follow`` reach the settings of the stages that know them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from animus3d_cli.main import app
from stages.run_dir import RunDir
from tests.gaussians.test_ply import splat


def config_of(stage: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The config with which the command ``words`` runs the stage."""
    found: list[Any] = []
    monkeypatch.setattr(
        importlib.import_module(f"stages.{stage}"), "run", lambda run, config, *_, **__: found.append(config)
    )
    app([*words, "--run", str(tmp_path / "run")], standalone_mode=False)
    [config] = found
    return config


@pytest.mark.parametrize(
    ("stage", "words"),
    [("distill", ["distill", "--prompt", "a walk"]), ("fit_lora", ["fit-lora"]), ("refine", ["refine"])],
)
def test_stages_that_show_a_prior_something(
    stage: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RunDir(tmp_path / "run").put_asset(splat(1, count=30), "goat.ply", force=False)
    assert not config_of(stage, words, tmp_path, monkeypatch).views.ground
    assert config_of(stage, [*words, "--ground"], tmp_path, monkeypatch).views.ground


@pytest.mark.parametrize(
    ("stage", "words"), [("render", ["render"]), ("export", ["export", "--format", "html", "--out", "a.html"])]
)
def test_stages_that_make_something(
    stage: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RunDir(tmp_path / "run").put_asset(splat(1, count=30), "goat.ply", force=False)
    assert not config_of(stage, words, tmp_path, monkeypatch).ground
    assert config_of(stage, [*words, "--ground"], tmp_path, monkeypatch).ground
    if stage == "render":
        assert config_of(stage, [*words, "--follow"], tmp_path, monkeypatch).follow
