"""File names and prompts that are no UTF-8, as old archives and other systems leave them: every stage takes them."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from stages.events import silent
from stages.gaussians.formats.ply import write_ply
from stages.report import run as report
from stages.run_dir import RunDir
from tests.campaigns.hostile_texts import command
from tests.exporting.runs import small_splat
from tests.priors.points.tiny import save_tiny
from tests.reporting.runs import run_with

LATIN = os.fsdecode(b"caf\xe9")
"""A folder of a Latin-1 system, as Python has it on a UTF-8 one."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / LATIN
    try:
        folder.mkdir()
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such names")
    return folder


def test_from_an_asset_to_pages(place: Path, tmp_path: Path) -> None:
    """The terminal takes UTF-8 and nothing else (``command``): what is printed must not break it either."""
    asset = small_splat(0, 30)
    write_ply(tmp_path / "goat.ply", replace(asset, log_scales=asset.log_scales))
    shutil.copy(tmp_path / "goat.ply", place / f"{LATIN}.ply")
    prior, run = save_tiny(tmp_path / "points"), place / "run"
    for words in (
        ["reconstruct", place / f"{LATIN}.ply", "--run", run],
        ["distill", "--prior", prior, "--prompt", f"walk {LATIN}", "--steps", 2, "--seconds", 0.3, "--run", run],
        ["sample", "--prior", prior, "--prompt", f"walk {LATIN}", "--count", 1, "--run", run],
        ["render", "--frames", 2, "--size", 32, "--run", run, place / f"{LATIN}.png"],
        [
            "export",
            "--format",
            "html",
            "--frames",
            2,
            "--credit",
            LATIN,
            "--run",
            run,
            "--out",
            place / f"{LATIN}.html",
        ],
        ["report", run, "--out", place / "report.html", "--table", place / "numbers.csv"],
        ["status", "--run", run],
    ):
        said = command(*words)
        assert said.code == 0, (words[0], said.err)
    assert "walk caf\ufffd" in (place / f"{LATIN}.html").read_text(encoding="utf-8")
    assert "caf\ufffd.ply" in (place / "report.html").read_text(encoding="utf-8")
    _, metadata = RunDir(run).stage("motion").read_result("motion.safetensors")
    assert metadata["prompt"] == "walk caf\ufffd"
    assert not list(place.rglob(".*part*"))


def test_a_report_shows_halves_of_letters(tmp_path: Path) -> None:
    """In settings, as a library's caller or a foreign file may have them."""
    run = run_with(tmp_path / "run")
    path = run.path / "motion" / "config.json"
    config = json.loads(path.read_text())
    config["settings"] |= {"half \ud83d": "other half \ude00"}
    path.write_text(json.dumps(config))
    page = report([run.path], silent, out=tmp_path / "page.html", tables=[]).read_text(encoding="utf-8")
    assert "half \ufffd" in page and "other half \ufffd" in page
