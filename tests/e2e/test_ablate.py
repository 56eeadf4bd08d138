"""``ablate`` as typed: every variant on a tiny real prior, again, after an interruption, refused."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from animus3d_cli.main import main
from stages import ablate
from stages.ablate_variant import AblateConfig
from stages.ablation.tasks import tasks_of
from stages.ablation.variants import names_for
from stages.errors import NotAvailable
from stages.events import silent
from stages.jobs.engines.engine import Ended, Task, lost
from tests.e2e.test_pipeline import ROOT, animus3d, environment, workplace  # noqa: F401

LINE = (
    "ablate", "asset.ply", "--prompt", "a walking goat", "--prior", "prior", "--preset", "video",
    "--steps", "2", "--set", "lora.steps=2", "--set", "refine.steps=2", "--set", "refine.num_cameras=1",
    "--set", "distill.num_cameras=1", "--set", "distill.score.every=1", "--set", "evaluate.num_views=1",
    "--set", "evaluate.size=32",
)  # fmt: skip


@pytest.fixture(scope="module")
def study(workplace: Path) -> Path:  # noqa: F811
    done = animus3d(*LINE, "--seeds", "1", "--out", "study", cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert "too few" in done.stdout  # one task cannot decide
    return workplace / "study"


def test_every_variant_is_run_measured_and_written(study: Path) -> None:
    made = json.loads((study / "ablation.json").read_text())
    assert {(one["variant"], one["seed"]) for one in made["results"]} == {(n, 0) for n in names_for(points=False)}
    assert all(one["metrics"]["motion_amplitude"] is not None for one in made["results"])
    assert {one["verdict"] for one in made["orderings"]} <= {"too few", "not measured"}
    assert all((study / f"table.{suffix}").read_text().count("no-arap") for suffix in ("md", "csv", "tex"))
    [folder] = (study / "runs").glob("asset-*/seed-0")
    assert {path.name for path in folder.iterdir()} == set(names_for(points=False))
    assert (folder / "refined" / "refined" / "motion.safetensors").exists()
    settings = json.loads((folder / "sds-100" / "motion" / "config.json").read_text())["settings"]
    assert (settings["score.objective"], settings["score.guidance"], settings["seed"]) == ("sds", 100.0, 0)


def test_again_does_nothing_and_other_settings_are_refused(study: Path) -> None:
    field = next(study.glob("runs/*/seed-0/full/motion/motion.safetensors"))
    before, told = field.stat().st_mtime_ns, (study / "ablation.json").read_text()
    assert animus3d(*LINE, "--seeds", "1", "--out", "study", cwd=study.parent).returncode == 0
    assert (field.stat().st_mtime_ns, (study / "ablation.json").read_text()) == (before, told)
    other = animus3d(*LINE, "--seeds", "1", "--out", "study", "--set", "distill.arap_weight=1", cwd=study.parent)
    assert other.returncode == 5 and "arap_weight" in other.stderr and "--out" in other.stderr
    assert (study / "ablation.json").read_text() == told


def test_interrupted_it_goes_on_to_the_same_results(study: Path) -> None:
    """With two processes, the first of which is killed after the first runs; the other leaves with it."""
    line = [*LINE, "--seeds", "2", "--variants", "full,no-arap,refined", "--out", "again", "--processes", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "animus3d_cli", *line],
        cwd=study.parent,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    again, deadline = study.parent / "again", time.monotonic() + 120
    while not list(again.glob("runs/*/seed-*/*/ablation.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    time.sleep(1.0)  # until the helpers have noticed
    kept = {path: path.stat().st_mtime_ns for path in again.glob("runs/*/seed-*/*/ablation.json")}
    assert 0 < len(kept) < 6
    done = animus3d(*line, cwd=study.parent)
    assert done.returncode == 0, done.stderr
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())
    whole = json.loads((study / "ablation.json").read_text())["results"]
    found = [one for one in json.loads((again / "ablation.json").read_text())["results"] if one["seed"] == 0]
    assert found == [one for one in whole if one["variant"] in ("full", "no-arap", "refined")]


@pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="submitit is not installed")
def test_an_engine_finds_what_one_process_finds(study: Path) -> None:
    """SLURM by submitit's local executor; what a worker refuses, the command says."""
    line = [*LINE, "--seeds", "1", "--variants", "full,no-arap", "--out", "slurm"]
    line += ["--engine", "slurm", "--slurm", "cluster=local", "--processes", "2"]
    done = animus3d(*line, cwd=study.parent)
    assert done.returncode == 0, done.stderr
    whole = json.loads((study / "ablation.json").read_text())["results"]
    found = json.loads((study.parent / "slurm" / "ablation.json").read_text())["results"]
    assert found == [one for one in whole if one["variant"] in ("full", "no-arap")]
    other = animus3d(*line, "--set", "distill.arap_weight=1", cwd=study.parent)
    assert other.returncode == 5 and "arap_weight" in other.stderr and "--force" in other.stderr


def test_a_worker_that_has_gone_is_told(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        slots = 2

        def __init__(self) -> None:
            self.given: list[Task] = []

        def start(self, task: Task) -> None:
            self.given.append(task)

        def wait(self, seconds: float) -> list[Ended]:
            given, self.given = self.given, []
            return [Ended(task, lost("its process was killed")) for task in given]

        def close(self) -> None:
            self.given.append({"id": "closed"})

    monkeypatch.chdir(study.parent)
    engine = Gone()
    with pytest.raises(NotAvailable, match=r"A worker has gone: its process was killed\. The same command goes on\."):
        ablate.run(study, tasks_of([Path("asset.ply")], ["a walking goat"]), [], AblateConfig(), silent, engine=engine)
    assert engine.given == [{"id": "closed"}]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "x"], "assets and sentences"),
        (["nothing.ply", "--prompt", "it runs", "--out", "x"], "nothing.ply"),
        (["asset.ply", "--prompt", "it runs", "--variants", "full,without-legs", "--out", "x"], "without-legs"),
        (["asset.ply", "--prompt", "it runs", "--set", "distill.stepz=3", "--out", "x"], "stepz"),
        (["asset.ply", "--prompt", "it runs", "--tasks", "tasks.csv", "--out", "x"], "--tasks"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    workplace: Path,  # noqa: F811
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(workplace)
    monkeypatch.setattr(sys, "argv", ["animus3d", "ablate", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    told = capsys.readouterr().err
    assert left.value.code == 3 and len(told.splitlines()) == 1 and said in told
    assert not (workplace / "x").exists()
