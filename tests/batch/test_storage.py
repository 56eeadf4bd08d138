"""Assets and results that URLs name: on a file:// and on the memory filesystem of fsspec."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from stages.batch import driver
from stages.batch.settings import sets, settings_of
from stages.batch.work import do
from stages.errors import BadInput, CannotWrite, NotAvailable
from stages.events import silent
from stages.jobs.engines.engine import Ended, Task
from stages.jobs.storage import fetch, publish, published
from stages.jobs.table import read_table
from stages.priors import load
from tests.batch.small import line, write_inputs, write_jobs
from tests.campaigns.tried import contents


class InTurn:
    """An engine without processes: the memory filesystem is one process's own."""

    slots = 1

    def __init__(self) -> None:
        self.given: list[Task] = []
        self.done: list[str] = []

    def start(self, task: Task) -> None:
        self.given.append(task)

    def wait(self, seconds: float) -> list[Ended]:
        given, self.given = self.given, []
        self.done += [task["id"] for task in given]
        return [Ended(task, do(task)) for task in given]

    def close(self) -> None:
        self.given = []


@pytest.fixture(params=["memory", "file"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A URL below which nothing is yet."""
    system = fsspec.filesystem("memory")
    yield "memory://bucket" if request.param == "memory" else (tmp_path / "bucket").as_uri()
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    load._kept = None


def run(table: Path, folder: Path, url: str) -> tuple[driver.Standing, list[str]]:
    engine = InTurn()
    jobs = read_table(table, sets, settings_of)
    standing = driver.run(folder, jobs, engine, silent, lambda *_: None, device="cpu", publish=url)
    return standing, engine.done


def test_an_asset_comes_from_there_and_the_run_goes_there(bucket: str, tmp_path: Path) -> None:
    write_inputs(tmp_path, ("a",))
    publish_file(tmp_path / "a.ply", f"{bucket}/assets/a.ply")
    table = write_jobs(tmp_path, [line(tmp_path, f"{bucket}/assets/a.ply", name="one")])
    standing, _ = run(table, tmp_path / "work", f"{bucket}/results")
    assert (standing.done, standing.failed) == (1, 0)
    assert published(f"{bucket}/results/jobs") == {"one"}
    back = fetch(f"{bucket}/results/jobs/one", tmp_path / "back")
    here = contents(tmp_path / "work" / "jobs" / "one")
    assert contents(back) == {name: data for name, data in here.items() if not name.startswith(".")}

    # elsewhere, with nothing of the folder left: what is there counts
    standing, tasks = run(table, tmp_path / "other", f"{bucket}/results")
    assert (standing.done, tasks) == (1, [])


def test_what_was_made_and_not_copied_is_only_copied(bucket: str, tmp_path: Path) -> None:
    write_inputs(tmp_path, ("a",))
    table = write_jobs(tmp_path, [line(tmp_path, "a.ply", name="one")])
    run(table, tmp_path / "work", f"{bucket}/results")
    system, path = fsspec.core.url_to_fs(f"{bucket}/results/jobs/one/complete.json")
    system.rm(path)
    motion = tmp_path / "work" / "jobs" / "one" / "motion" / "motion.safetensors"
    before = motion.stat().st_mtime_ns
    standing, tasks = run(table, tmp_path / "work", f"{bucket}/results")
    assert (standing.done, tasks) == (1, ["jobs/one"]) and motion.stat().st_mtime_ns == before
    assert published(f"{bucket}/results/jobs") == {"one"}


def publish_file(path: Path, url: str) -> None:
    system, target = fsspec.core.url_to_fs(url)
    system.makedirs(target.rpartition("/")[0], exist_ok=True)
    system.put_file(str(path), target)


def test_the_last_file_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = tmp_path / "run"
    (run_dir / "z").mkdir(parents=True)
    for name in ("complete.json", "z/last.txt", "a.txt", ".lock"):
        (run_dir / name).write_text(name)
    put: list[str] = []
    system = fsspec.filesystem("memory")
    monkeypatch.setattr(type(system), "put_file", lambda self, here, there, **_: put.append(there))
    publish(run_dir, "memory://order/run")
    assert [path.rpartition("order/run/")[2] for path in put] == ["a.txt", "z/last.txt", "complete.json"]


def test_errors_name_the_address(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"memory://none/a\.ply"):
        fetch("memory://none/a.ply", tmp_path)
    with pytest.raises(NotAvailable, match="nosuch://bucket"):
        fetch("nosuch://bucket/a.ply", tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "a.txt").write_text("a")
    with pytest.raises(CannotWrite, match="file/below"):
        publish(tmp_path / "run", f"{(tmp_path / 'file').as_uri()}/below")
    assert not list(tmp_path.glob("*/*.part*"))
