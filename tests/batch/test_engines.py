"""SLURM through submitit's local executor, and Ray: the same jobs, the same bytes as processes of this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from stages.errors import BadInput, NotAvailable
from stages.jobs.engines.here import Here
from stages.jobs.engines.slurm import parse_options, script
from tests.batch.small import begin, finished, line, results, workers_of, write_inputs, write_jobs
from tests.campaigns.tried import differences

has_submitit = importlib.util.find_spec("submitit") is not None
has_ray = importlib.util.find_spec("ray") is not None
needs_submitit = pytest.mark.skipif(not has_submitit, reason="submitit is not installed")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four jobs, one of which fails, done by one process."""
    folder = tmp_path_factory.mktemp("engines")
    write_inputs(folder, ("a",))
    lines = [line(folder, "a.ply", seed=seed, name=f"a{seed}") for seed in range(3)]
    write_jobs(folder, [*lines, line(folder, "none.ply", name="lost")])
    finished("batch", "jobs.csv", "--workers", "1", "--out", "whole", cwd=folder, code=11)
    return folder


def same(place: Path, name: str) -> None:
    assert differences(results(place / "whole"), results(place / name)) == []


@needs_submitit
def test_slurm_by_its_local_executor(place: Path) -> None:
    line = ("batch", "jobs.csv", "--engine", "slurm", "--slurm", "cluster=local,tasks=3", "--workers", "3")
    finished(*line, "--out", "slurm", cwd=place, code=11)
    same(place, "slurm")
    out, _ = finished(*line, "--out", "slurm", "--json", cwd=place, code=11)
    assert [json.loads(text)["event"] for text in out.splitlines()] == ["started", "finished"]


@needs_submitit
def test_the_script_is_shown_and_nothing_is_begun(tmp_path: Path) -> None:
    text = script(parse_options("partition=gpu,time=30,gpus_per_node=2,tasks=5"), tmp_path / "slurm")
    assert "#SBATCH --partition=gpu" in text and "#SBATCH --time=30" in text and "#SBATCH --gpus-per-node=2" in text
    write_inputs(tmp_path, ("a",))
    write_jobs(tmp_path, [line(tmp_path, "a.ply")])
    dry = ("batch", "jobs.csv", "--engine", "slurm", "--slurm", "partition=gpu", "--dry-run", "--out", "results")
    out, _ = finished(*dry, cwd=tmp_path)
    assert "#SBATCH --partition=gpu" in out and "1 jobs" in out
    assert not (tmp_path / "results").exists()


@needs_submitit
@pytest.mark.parametrize("text", ["partitio=gpu", "partition", "tasks=0", "tasks=some", "cluster=mine"])
def test_parameters_that_there_are_not(text: str) -> None:
    with pytest.raises(BadInput, match="--slurm"):
        parse_options(text)


@pytest.mark.skipif(has_submitit, reason="submitit is installed")
def test_without_submitit_it_says_what_to_type() -> None:
    with pytest.raises(NotAvailable, match=r"animus3d\[slurm\]"):
        parse_options("time=3")


@pytest.mark.skipif(has_ray, reason="Ray is installed")
def test_without_ray_it_says_what_to_type(tmp_path: Path) -> None:
    write_inputs(tmp_path, ("a",))
    write_jobs(tmp_path, [line(tmp_path, "a.ply")])
    _, err = finished("batch", "jobs.csv", "--engine", "ray", cwd=tmp_path, code=9)
    assert "animus3d[ray]" in err and err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.skipif(not has_ray, reason="Ray is not installed")
def test_ray_and_its_head_killed_in_the_middle(place: Path) -> None:
    command = ("batch", "jobs.csv", "--engine", "ray", "--workers", "2", "--out", "ray")
    process = begin(*command, cwd=place)
    while not list((place / "ray").glob("jobs/*/motion")):
        assert process.poll() is None, process.communicate()
    heads = [one for one in psutil.Process(process.pid).children(recursive=True) if "gcs_server" in one.name()]
    assert heads
    for head in heads:
        os.kill(head.pid, signal.SIGKILL)
    process.communicate(timeout=300)
    assert process.returncode not in (0, 11)
    finished(*command, cwd=place, code=11)
    same(place, "ray")


def divide(task: dict[str, int]) -> dict[str, object]:
    """A task for ``Here`` alone; one that dies when it is asked to."""
    if task["by"] == 0:
        os._exit(3)
    return {"state": "done", "seconds": 0.0, "pid": os.getpid()}


@pytest.mark.parametrize("fork", [True, False])
def test_a_process_stays_and_one_that_dies_is_known_by_its_task(fork: bool) -> None:
    engine = Here(divide, 2, fork=fork)  # type: ignore[arg-type]
    try:
        pids = []
        for by in (1, 2, 0, 3):
            engine.start({"id": str(by), "by": by})
            [ended] = engine.wait(120.0)
            assert ended.task["by"] == by
            pids.append(ended.outcome.get("pid"))
            assert ended.outcome["state"] == ("lost" if by == 0 else "done")
        assert pids[0] == pids[1] and pids[2] is None and pids[3] != pids[0]
    finally:
        engine.close()
    begun = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    assert not workers_of(psutil.Process())
    assert not [child for child in begun if "spawn_main" in " ".join(child.cmdline())]
