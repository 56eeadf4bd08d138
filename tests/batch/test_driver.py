"""The driver's own decisions, with an engine that says what it is told to; and pages about a batch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages.batch import driver
from stages.errors import CannotWrite, SomeFailed
from stages.events import silent
from stages.files import write_json
from stages.jobs.engines.engine import Ended, Outcome, Task
from stages.jobs.folder import COMPLETE, BatchFolder, claim
from stages.jobs.job import Job
from stages.jobs.standing import status_of
from tests.e2e.command import animus3d

DONE: Outcome = {"state": "done", "seconds": 0.0}


class Scripted:
    """Says of each task what stands in ``says``, one after the other, then that it is done; and does it."""

    slots = 2

    def __init__(self, folder: Path, says: dict[str, list[Outcome]]) -> None:
        self.folder, self.says = folder, says
        self.began: list[str] = []
        self.given: list[Task] = []
        self.closed = False

    def start(self, task: Task) -> None:
        assert len(self.given) < self.slots
        self.began.append(task["id"])
        self.given.append(task)

    def wait(self, seconds: float) -> list[Ended]:
        task = self.given.pop(0)
        says = self.says.get(task["id"], [])
        outcome = says.pop(0) if says else DONE
        if outcome == DONE:
            run = self.folder / task["id"]
            if task["kind"] == "job":
                claim(run, Job.of_json(task["job"]).identity)
            write_json(run / COMPLETE, {"seconds": 1.0})
        return [Ended(task, outcome)]

    def close(self) -> None:
        self.closed = True


def job(name: str, asset: str = "a.ply") -> Job:
    return Job(name=name, asset=asset, file=asset, prompt="it walks")


def run(folder: Path, jobs: list[Job], says: dict[str, list[Outcome]], **options: bool) -> Scripted:
    engine = Scripted(folder, says)
    try:
        driver.run(folder, jobs, engine, silent, lambda *_: None, device="cpu", **options)  # type: ignore[arg-type]
    finally:
        assert engine.closed
    return engine


def failed(what: str, code: int = 3) -> Outcome:
    return {"state": "failed", "stage": "distill", "what": what, "hint": "", "code": code}


def test_an_asset_is_made_once_and_before_its_jobs(tmp_path: Path) -> None:
    jobs = [job("one"), job("two"), job("three", "b.ply")]
    began = run(tmp_path, jobs, {}).began
    assets = [name for name in began if name.startswith("assets/")]
    assert len(assets) == 2 and len(began) == 5
    assert began.index(assets[0]) < min(began.index("jobs/one"), began.index("jobs/two"))
    assert run(tmp_path, [*jobs, job("four")], {}).began == ["jobs/four"]  # its asset is there


def test_an_asset_that_fails_fails_all_its_jobs_and_no_others(tmp_path: Path) -> None:
    jobs = [job("one"), job("two"), job("three", "b.ply")]
    first = run(tmp_path / "look", jobs, {}).began[0]
    with pytest.raises(SomeFailed, match="2 of 3"):
        run(tmp_path, jobs, {first: [failed("No splat.")]})
    found = {one.name: one for one in status_of(tmp_path).jobs}
    assert {name: one.state for name, one in found.items()} == {"one": "failed", "two": "failed", "three": "done"}
    assert "No splat." in found["one"].why and found["one"].code == 3


def test_a_worker_that_dies_over_a_task_is_given_it_three_times(tmp_path: Path) -> None:
    dies = {"state": "lost", "what": "it was killed"}
    assert run(tmp_path / "twice", [job("one")], {"jobs/one": [dies, dies]}).began.count("jobs/one") == 3
    with pytest.raises(SomeFailed):
        run(tmp_path / "often", [job("one"), job("two")], {"jobs/one": [dies] * 9})
    why = BatchFolder(tmp_path / "often").failure("one")
    assert why is not None and "3 times" in why["what"] and "it was killed" in why["what"]
    assert BatchFolder(tmp_path / "often").is_done(job("two"))


def test_a_run_that_is_in_use_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "BUSY_S", 0.1)
    busy = {"state": "busy", "what": "In use.", "hint": "Wait."}
    assert run(tmp_path / "short", [job("one")], {"jobs/one": [busy, busy]}).began.count("jobs/one") == 3
    monkeypatch.setattr(driver, "PATIENCE_S", 0.0)
    with pytest.raises(SomeFailed):
        run(tmp_path / "long", [job("one")], {"jobs/one": [busy] * 9})
    why = BatchFolder(tmp_path / "long").failure("one")
    assert why is not None and why["code"] == 6


def test_a_full_disk_stops_the_batch(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="No space"):
        run(tmp_path, [job("one"), job("two")], {"jobs/one": [failed("No space left.", 7)]})
    assert BatchFolder(tmp_path).failure("one") is None  # it is not the job's fault


def test_status_and_report_show_a_batch_whatever_its_jobs_are_called(tmp_path: Path) -> None:
    hostile = Job(name="two", asset="</script><b>.ply", file="x", prompt="<script>alert(1)</script>")
    with pytest.raises(SomeFailed):
        run(tmp_path / "results", [job("one"), hostile], {"jobs/two": [failed("<i>Bad</i>.")]})
    told = animus3d("status", tmp_path / "results").stdout
    assert "1 failed, 1 done" in told and "two" in told and "--retry-failed" in told
    found = json.loads(animus3d("status", tmp_path / "results", "--json").stdout)
    assert found["counts"]["failed"] == 1 and [one["state"] for one in found["jobs"]] == ["done", "failed"]
    page, table = tmp_path / "page.html", tmp_path / "jobs.csv"
    animus3d("report", tmp_path / "results", "--out", page, "--table", table)
    text = page.read_text(encoding="utf-8")
    assert "&lt;i&gt;Bad" in text and "<script>alert" not in text and "no video" in text
    assert table.read_text().count("\n") == 3
    animus3d("report", tmp_path / "results", tmp_path / "results", "--out", page, code=3)


def test_a_job_of_a_taken_name_is_not_taken_for_done(tmp_path: Path) -> None:
    run(tmp_path, [job("one")], {})
    other = Job(name="one", asset="a.ply", file="a.ply", prompt="it runs")
    assert BatchFolder(tmp_path).is_done(job("one")) and not BatchFolder(tmp_path).is_done(other)
