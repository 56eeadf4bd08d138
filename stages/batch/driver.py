"""The driver of a batch: gives tasks to an engine, and keeps the reasons of those that failed.

Everything else is in the run directories. Killed at any moment and started again, it looks there for what is done.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stages.batch.queue import Queue
from stages.errors import CannotWrite, RunLocked, SomeFailed
from stages.events import Report
from stages.files import writing
from stages.jobs.engines.engine import Ended, Engine, Outcome, Task
from stages.jobs.folder import COMPLETE, BatchFolder
from stages.jobs.job import Job
from stages.jobs.storage import published
from stages.run_dir.lock import forget_holder, hold

TRIES = 3
"""Times that a worker may die over a task before that is the task's fault."""

BUSY_S, PATIENCE_S = 2.0, 120.0
"""A run that another process works on is tried again after so long, and given up after so long."""

LOOK_S = 0.5
"""How often people are told how it goes, at least."""


@dataclass
class Standing:
    """How a batch stands."""

    total: int
    workers: int
    done: int = 0  # those of earlier starts too
    before: int = 0  # done by earlier starts
    failed: int = 0
    running: dict[str, float] = field(default_factory=dict)  # task's id -> when it was begun, by the monotonic clock
    seconds: float = 0.0  # inside tasks
    began: float = field(default_factory=time.monotonic)

    @property
    def eta_s(self) -> float | None:
        """Seconds that are left, at the speed so far; None before the first job is done."""
        new = self.done - self.before + self.failed
        left = self.total - self.done - self.failed
        return (time.monotonic() - self.began) / new * left if new else None


@dataclass(frozen=True)
class JobEnded:
    """A job has been done or has failed, as its ``outcome`` says."""

    name: str
    outcome: Outcome


Tell = Callable[[Standing, JobEnded | None], None]
"""Is told how the batch stands: after every job that ends, and now and then."""


def run(
    out: Path,
    jobs: Sequence[Job],
    engine: Engine,
    report: Report,
    tell: Tell,
    *,
    device: str = "auto",
    raster: str | None = None,
    publish: str | None = None,
    retry_failed: bool = False,
) -> Standing:
    """Do all jobs that are not done yet; returns how it ended. The engine is closed. ``publish`` is a URL below which
    the run of every job that is done is copied; what is there need not be here.

    Raises:
        RunLocked: another batch is running in ``out``.
        SomeFailed: some jobs have failed, now or before.
        CannotWrite: the folder cannot be written.
    """
    folder = BatchFolder(out)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    try:
        with hold(out, "batch", report):
            where: dict[str, object] = {"results": str(out.absolute()), "device": device, "raster": raster}
            where["publish"] = None if publish is None else f"{publish.rstrip('/')}/jobs"
            standing = _Driver(folder, engine, tell, where).run(jobs, retry_failed=retry_failed)
    except RunLocked as error:
        raise RunLocked(error.what, error.hint.replace("--run", "--out")) from None
    finally:
        engine.close()
    if standing.failed:
        raise SomeFailed(
            f"{standing.failed} of {standing.total} jobs have failed.",
            f"See: animus3d status {out}; the same command with --retry-failed does them again.",
        )
    return standing


class _Driver:
    """One start of a batch."""

    def __init__(self, folder: BatchFolder, engine: Engine, tell: Tell, where: dict[str, object]) -> None:
        self.folder, self.engine, self.tell, self.where = folder, engine, tell, where
        self.standing = Standing(total=0, workers=engine.slots)
        self.tries: Counter[str] = Counter()
        self.since: dict[str, float] = {}  # task's id -> since when its run has been another's
        self.queue = Queue([], {}, lambda name: False)

    def run(self, jobs: Sequence[Job], *, retry_failed: bool) -> Standing:
        self.folder.put_jobs(jobs)
        todo = self._look(jobs, retry_failed=retry_failed)
        self.queue = Queue(todo, self.where, lambda name: (self.folder.asset_of(name) / COMPLETE).exists())
        self.tell(self.standing, None)
        running = self.standing.running
        while running or not self.queue.empty:
            while len(running) < self.engine.slots and (task := self.queue.next(self.engine.slots)) is not None:
                running[task["id"]] = time.monotonic()
                self.engine.start(task)
            if not running:  # all that is left waits for another process
                time.sleep(LOOK_S)
                continue
            for ended in self.engine.wait(LOOK_S):
                began = running.pop(ended.task["id"])
                self.standing.seconds += ended.outcome.get("seconds", time.monotonic() - began)
                self._ended(ended)
            self.tell(self.standing, None)
        return self.standing

    def _look(self, jobs: Sequence[Job], *, retry_failed: bool) -> list[Job]:
        """The jobs that are to be done; counts the others."""
        todo, standing = [], self.standing
        standing.total = len(jobs)
        there = None if self.where["publish"] is None else published(str(self.where["publish"]))
        for job in jobs:
            if self.folder.is_done(job) if there is None else job.name in there:
                self.folder.forget_failure(job.name)
                standing.done += 1
            elif self.folder.failure(job.name) is not None and not retry_failed:
                standing.failed += 1
            else:
                todo.append(job)
        standing.before = standing.done + standing.failed
        return todo

    def _ended(self, ended: Ended) -> None:
        task, outcome = ended.task, ended.outcome
        state = outcome["state"]
        if state == "busy":
            since = self.since.setdefault(task["id"], time.monotonic())
            if time.monotonic() - since < PATIENCE_S:
                self.queue.again(task, BUSY_S)
                return
            outcome = {"state": "failed", "stage": "", "code": RunLocked.exit_code, **_said(outcome)}
        elif state == "lost":
            self.tries[task["id"]] += 1
            forget_holder(self.folder.path / task["id"])  # it may have been on another host
            if self.tries[task["id"]] < TRIES:
                self.queue.again(task)
                return
            what = f"A worker died over it {TRIES} times: {outcome['what']}."
            outcome = {"state": "failed", "stage": "", "code": 1, "what": what, "hint": ""}
        if outcome["state"] == "failed" and outcome["code"] == CannotWrite.exit_code:
            raise CannotWrite(outcome["what"], outcome["hint"])  # so would all the others
        self._count(task, outcome)

    def _count(self, task: Task, outcome: Outcome) -> None:
        """A task that will not be tried again."""
        done = outcome["state"] == "done"
        if task["kind"] == "asset":
            if done:
                self.queue.made(task["name"])
                return
            names = [job.name for job in self.queue.cannot_be_made(task["name"])]
        else:
            names = [task["name"]]
        for name in names:
            if done:
                self.folder.forget_failure(name)
                self.standing.done += 1
            else:
                why = {key: value for key, value in outcome.items() if key != "state"}
                self.folder.put_failure(name, why)
                self.standing.failed += 1
            self.tell(self.standing, JobEnded(name, outcome))


def _said(outcome: Outcome) -> Outcome:
    return {"what": outcome["what"], "hint": outcome["hint"]}
