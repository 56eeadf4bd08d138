"""``animus3d batch`` as typed: jobs are done once, failures say why, kills cost nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from stages.jobs.folder import BatchFolder
from tests.batch.small import begin, finished, line, results, workers_of, write_inputs, write_jobs
from tests.campaigns.tried import contents, differences

COMMAND = ("batch", "jobs.csv", "--workers", "2")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table of five jobs, one of which fails, and the results of an undisturbed batch."""
    folder = tmp_path_factory.mktemp("batch")
    write_inputs(folder)
    lines = [line(folder, "a.ply", seed=seed, name=f"a{seed}") for seed in range(3)]
    lines += [line(folder, "none.ply", name="lost"), line(folder, "b.ply", "jump", name="b0")]
    write_jobs(folder, lines)
    out, err = finished(*COMMAND, "--out", "whole", "--json", cwd=folder, code=11)
    (folder / "told.jsonl").write_text(out)
    assert "1 of 5 jobs have failed" in err and "--retry-failed" in err
    return folder


def until(there: Callable[[], object], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def kill_all(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def same_as_undisturbed(place: Path, name: str) -> None:
    assert differences(results(place / "whole"), results(place / name)) == []


def test_every_job_is_a_run_and_told_to_programs(place: Path) -> None:
    told = [json.loads(text) for text in (place / "told.jsonl").read_text().splitlines()]
    assert told[0]["event"] == "started" and told[0]["jobs"] == 5
    assert {one["job"] for one in told if one["event"] == "done"} == {"a0", "a1", "a2", "b0"}
    assert [one["job"] for one in told if one["event"] == "failed"] == ["lost"]
    assert (told[-1]["event"], told[-1]["done"], told[-1]["failed"]) == ("finished", 4, 1)
    for name in ("a0", "a1", "a2", "b0"):
        run = place / "whole" / "jobs" / name
        assert (run / "motion" / "motion.safetensors").exists() and (run / "renders" / "motion.mp4").exists()
        assert finished("status", run, cwd=place)[0].count("complete") >= 2
    assert len(list((place / "whole" / "assets").glob("a-*"))) == 1


def test_a_failed_job_says_why(place: Path) -> None:
    why = BatchFolder(place / "whole").failure("lost")
    assert why is not None and why["code"] == 3 and why["stage"] == "reconstruct" and "none.ply" in why["what"]


def test_again_nothing_is_done_again(place: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (place / "whole").rglob("*") if path.name[0] != "."}
    out, _ = finished(*COMMAND, "--out", "whole", "--json", cwd=place, code=11)
    told = [json.loads(text) for text in out.splitlines()]
    assert [one["event"] for one in told] == ["started", "finished"]
    assert (told[-1]["done"], told[-1]["failed"]) == (4, 1)
    now = {path: path.stat().st_mtime_ns for path in before if path.is_file()}
    assert all(before[path] == time for path, time in now.items())


@pytest.mark.slow
def test_retry_failed_does_those_again(place: Path, tmp_path: Path) -> None:
    write_inputs(tmp_path, ("a",))
    write_jobs(tmp_path, [line(tmp_path, "late.ply", name="late")])
    command = ("batch", "jobs.csv", "--workers", "1", "--out", "results")
    finished(*command, cwd=tmp_path, code=11)
    (tmp_path / "a.ply").rename(tmp_path / "late.ply")
    finished(*command, cwd=tmp_path, code=11)  # a failed job stays one
    finished(*command, "--retry-failed", cwd=tmp_path)
    assert BatchFolder(tmp_path / "results").failure("late") is None
    assert (tmp_path / "results" / "jobs" / "late" / "complete.json").exists()


def test_killed_with_its_workers_it_goes_on_to_the_same_bytes(place: Path) -> None:
    process = begin(*COMMAND, "--out", "killed", cwd=place)
    motion = place / "killed" / "jobs" / "a1" / "motion"
    until(lambda: list(motion.glob("checkpoints/*/state.json")) or process.poll() is not None)
    kill_all(process)
    assert process.returncode == -signal.SIGKILL
    assert len(list((place / "killed").glob("jobs/*/complete.json"))) < 4
    finished(*COMMAND, "--out", "killed", cwd=place, code=11)
    same_as_undisturbed(place, "killed")


@pytest.mark.slow
def test_the_workers_of_a_killed_driver_leave_and_the_next_one_goes_on(place: Path) -> None:
    process = begin(*COMMAND, "--out", "driver", cwd=place)
    until(lambda: list((place / "driver").glob("jobs/*/motion")) or process.poll() is not None)
    workers = workers_of(psutil.Process(process.pid))
    assert workers
    process.kill()
    process.communicate()
    finished(*COMMAND, "--out", "driver", cwd=place, code=11)  # at once: while they may still be there
    until(lambda: not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers))
    same_as_undisturbed(place, "driver")


def test_a_killed_worker_is_replaced_and_a_second_batch_is_refused(place: Path) -> None:
    process = begin(*COMMAND, "--out", "worker", cwd=place)
    until(lambda: list((place / "worker").glob("jobs/*/motion")) or process.poll() is not None)
    workers_of(psutil.Process(process.pid))[0].kill()
    process.send_signal(signal.SIGSTOP)  # it does not end before the second begins
    _, err = finished(*COMMAND, "--out", "worker", cwd=place, code=6)
    process.send_signal(signal.SIGCONT)
    assert "worker" in err and "--out" in err and err.count("\n") == 1
    out, err = process.communicate(timeout=300)
    assert process.returncode == 11, out + err
    same_as_undisturbed(place, "worker")


@pytest.mark.slow
def test_interrupted_it_says_so_and_goes_on(place: Path) -> None:
    process = begin(*COMMAND, "--out", "interrupted", cwd=place)
    until(lambda: list((place / "interrupted").glob("jobs/*/motion")) or process.poll() is not None)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err.count("\n") == 1, err
    finished(*COMMAND, "--out", "interrupted", cwd=place, code=11)
    same_as_undisturbed(place, "interrupted")


@pytest.mark.slow
def test_a_name_that_is_taken_is_refused_and_the_run_stays(place: Path, tmp_path: Path) -> None:
    write_inputs(tmp_path, ("a",))
    write_jobs(tmp_path, [line(tmp_path, "a.ply", name="one")])
    finished("batch", "jobs.csv", "--workers", "1", "--out", "results", cwd=tmp_path)
    before = contents(tmp_path / "results" / "jobs")
    write_jobs(tmp_path, [line(tmp_path, "a.ply", seed=5, name="one")])
    finished("batch", "jobs.csv", "--workers", "1", "--out", "results", cwd=tmp_path, code=11)
    why = BatchFolder(tmp_path / "results").failure("one")
    assert why is not None and why["code"] == 5 and "another name" in why["hint"]
    assert contents(tmp_path / "results" / "jobs") == before


def test_what_batch_cannot_use_is_one_line(tmp_path: Path) -> None:
    for arguments in ((), ("--assets", tmp_path), ("jobs.csv", "--assets", tmp_path, "--prompts", "said.txt")):
        _, err = finished("batch", *arguments, cwd=tmp_path, code=3)
        assert err.count("\n") == 1 and "batch jobs.csv" in err
    assert not (tmp_path / "results").exists()
