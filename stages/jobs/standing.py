"""How a batch stands, read off its folder; takes no lock and writes nothing. The JSON's keys stay."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.errors import CorruptCheckpoint
from stages.files import read_json
from stages.jobs.folder import COMPLETE, BatchFolder
from stages.jobs.job import Job
from stages.run_dir.layout import PIPELINE
from stages.run_dir.lock import Holder, lock_holder

STATES = ("running", "failed", "interrupted", "waiting", "done")
"""Of a job, those first that people look for."""


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """One job."""

    name: str
    run: str  # its run directory
    asset: str
    prompt: str
    settings: Mapping[str, str]
    state: str  # one of ``STATES``
    stage: str = ""  # what was begun last, of one that is running or interrupted; where one has failed
    why: str = ""  # it has failed, and what to do
    code: int | None = None  # the exit code that stands for why
    seconds: float | None = None  # inside its stages, of one that is done


@dataclass(frozen=True, kw_only=True)
class BatchStatus:
    """A whole batch."""

    folder: str
    running: Holder | None  # the driver: {"command", "pid", "host", "started"}, or null
    counts: Mapping[str, int]  # state -> jobs
    jobs: list[JobStatus]  # in the order of the table
    next: str  # the command to type next


def status_of(path: Path) -> BatchStatus:
    """How the batch in ``path`` stands. Raises ``MissingStage``, ``CorruptCheckpoint``."""
    folder = BatchFolder(path)
    jobs = [_job(folder, job) for job in folder.jobs()]
    counts = {state: sum(job.state == state for job in jobs) for state in STATES}
    holder = lock_holder(path)
    return BatchStatus(
        folder=str(path), running=holder, counts=counts, jobs=jobs, next=_next(path, counts, running=holder is not None)
    )


def _job(folder: BatchFolder, job: Job) -> JobStatus:
    run = folder.run_of(job.name)
    about: dict[str, Any] = {"name": job.name, "run": str(run), "asset": job.asset, "prompt": job.prompt}
    about["settings"] = job.settings
    if folder.is_done(job):
        with suppress(CorruptCheckpoint):
            done = read_json(run / COMPLETE) or {}
            return JobStatus(**about, state="done", seconds=done.get("seconds"))
        return JobStatus(**about, state="done")
    if run.is_dir() and lock_holder(run) is not None:
        return JobStatus(**about, state="running", stage=_stage(run))
    why = folder.failure(job.name)
    if why is not None:
        said = f"{why.get('what', '')} {why.get('hint', '')}".strip()
        return JobStatus(**about, state="failed", stage=str(why.get("stage", "")), why=said, code=why.get("code"))
    if run.is_dir():
        return JobStatus(**about, state="interrupted", stage=_stage(run))
    return JobStatus(**about, state="waiting")


def _stage(run: Path) -> str:
    """The command whose folder was begun last."""
    begun = [stage for stage in PIPELINE if (run / stage.folder / "config.json").exists()]
    unfinished = [stage for stage in begun if not (run / stage.folder / "complete.json").exists()]
    return unfinished[-1].command if unfinished else "render" if begun else ""


def _next(path: Path, counts: Mapping[str, int], *, running: bool) -> str:
    if running:
        return f"animus3d status {path}"
    if counts["interrupted"] or counts["waiting"]:
        return f"the same animus3d batch ... --out {path}, which goes on"
    if counts["failed"]:
        return f"the same animus3d batch ... --out {path} --retry-failed"
    return f"animus3d report {path} --out page.html"
