"""doctor knows every dependency, says what is wrong, and fails only for what a command needs."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from animus3d_cli.console import Console
from animus3d_cli.main import main
from stages import doctor
from stages.doctor import EXTRAS, PACKAGES, Finding, works

ROOT = Path(__file__).parent.parent.parent


def test_every_dependency_is_looked_for() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    core = text.split("dependencies = [")[1].split("\n]")[0]
    assert set(re.findall(r'^  "([\w-]+)', core, re.M)) == set(PACKAGES)
    listed = text.split("[project.optional-dependencies]")[1].split("\n[")[0]
    lines = re.findall(r"^(\w+) = \[(.+)\]$", listed, re.M)
    extras = {package: extra for extra, names in lines for package in re.findall(r'"([\w-]+)', names)}
    assert {package: extra for package, (extra, _) in EXTRAS.items()} == extras


def test_what_works_and_what_does_not() -> None:
    def finding(state: str, optional: bool) -> Finding:
        return Finding(name="x", state=state, found="", needed_for="", optional=optional)  # type: ignore[arg-type]

    assert works(finding("ok", False)) and works(finding("missing", True))
    assert not works(finding("missing", False)) and not works(finding("broken", True))


def test_backends_render_and_videos_are_written() -> None:
    assert "from the reference" in doctor._one_splat("cpu")
    assert ".webm" in doctor._ffmpeg() and "ffmpeg" in doctor._ffmpeg()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["animus3d", "doctor", *arguments])
    try:
        main()
    except SystemExit as stopped:
        return stopped.code
    return 0


def test_this_machine_is_well(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--json") == 0
    findings = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert findings["raster cpu"]["state"] == findings["points prior"]["state"] == "ok"
    assert findings["torch"]["found"] and findings["cuda"]["state"] in ("ok", "missing")


def test_a_broken_backend_is_named_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rasterizer that renders something else than the reference."""
    from stages.raster import cpu

    real = cpu.rasterize
    monkeypatch.setattr(cpu, "rasterize", lambda means, *rest, **more: real(means + 0.1, *rest, **more))
    monkeypatch.setattr(doctor, "_embedded", lambda: "left out here")
    monkeypatch.setenv("COLUMNS", "80")
    assert run(monkeypatch) == 9
    shown = capsys.readouterr()
    assert "see raster cpu." in shown.err and shown.err.count("\n") == 1
    assert re.search(r"^broken  raster cpu +its picture of one splat is .* from the reference's$", shown.out, re.M)
    assert max(map(len, shown.out.splitlines())) <= 80


def test_a_missing_package_says_how_to_get_it(capsys: pytest.CaptureFixture[str]) -> None:
    missing = doctor._package("no-such-package", "goats", "Install it: pip install no-such-package", optional=False)
    assert missing.state == "missing" and not works(missing)
    Console().doctor([missing])
    assert "For goats. Install it: pip install no-such-package" in capsys.readouterr().out
