"""Tasks as jobs of SLURM, through submitit. The driver stays where it is and asks how they are.

``Options`` are what ``--slurm`` says: any parameter of sbatch that submitit knows, and two of our own: ``tasks``, how
many tasks one job of SLURM does in turn, and ``cluster=local``, which runs the jobs as processes of this machine.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.errors import BadInput, NotAvailable, first_line
from stages.jobs.engines.engine import Ended, Outcome, Task, Work, lost

GET_IT = "Install it: pip install 'animus3d[slurm]'"
POLL_S = 1.0
"""Seconds between two looks at the jobs; submitit asks SLURM itself far more rarely."""

LOCAL = "local"


@dataclass(frozen=True)
class Options:
    """How jobs are submitted."""

    tasks: int = 1
    cluster: str = "slurm"
    parameters: dict[str, int | str] = field(default_factory=dict)  # of sbatch, in submitit's words


def parse_options(text: str) -> Options:
    """What ``--slurm`` says, as in "partition=gpu,time=30,tasks=10". Raises ``BadInput``, ``NotAvailable``."""
    known = {*_submitit().SlurmExecutor._valid_parameters(), "tasks", "cluster"}
    values: dict[str, int | str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, separator, value = part.partition("=")
        if not separator:
            raise BadInput(f"--slurm: {part!r} has no value.", "Write --slurm partition=gpu,time=30")
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            guess = f"Did you mean {close[0]}? " if close else ""
            raise BadInput(
                f"--slurm: there is no parameter {name!r}.", f"{guess}There are: {', '.join(sorted(known))}."
            )
        values[name] = int(value) if value.isdecimal() else value
    tasks, cluster = values.pop("tasks", 1), str(values.pop("cluster", "slurm"))
    if not isinstance(tasks, int) or tasks < 1:
        raise BadInput(f"--slurm: tasks must be a number from 1, not {tasks!r}.")
    if cluster not in ("slurm", LOCAL):
        raise BadInput(f"--slurm: there is no cluster {cluster!r}.", "Leave it out, or write cluster=local.")
    return Options(tasks, cluster, values)


def script(options: Options, folder: Path) -> str:
    """The script that sbatch would get. Raises ``BadInput``, ``NotAvailable``."""
    submitit = _submitit()

    class Shown(submitit.SlurmExecutor):  # type: ignore[misc, name-defined]
        """One that is never run, so that there need be no SLURM."""

        @classmethod
        def affinity(cls) -> int:
            return 2

    executor = _set(Shown(folder=folder), options)
    return str(executor._make_submission_file_text(executor._submitit_command_str, "batch"))


class Slurm:
    """``slots`` tasks that are submitted at a time, ``options.tasks`` of them in one job."""

    def __init__(self, work: Work, slots: int, options: Options, folder: Path) -> None:
        submitit = _submitit()
        self.slots = slots
        self._work, self._options = work, options
        kind = submitit.LocalExecutor if options.cluster == LOCAL else submitit.SlurmExecutor
        try:
            executor = kind(folder=folder)
        except RuntimeError as error:
            hint = "Run it where sbatch is; --slurm cluster=local tries it here."
            raise NotAvailable(f"There is no SLURM here: {first_line(error)}.", hint) from None
        self._executor = executor if options.cluster == LOCAL else _set(executor, options)
        self._given: list[Task] = []
        self._under_way: list[tuple[Any, list[Task]]] = []

    def start(self, task: Task) -> None:
        """See ``Engine``."""
        self._given.append(task)

    def wait(self, seconds: float) -> list[Ended]:
        """See ``Engine``."""
        self._submit()
        until = time.monotonic() + seconds
        while True:
            ended = [one for job, tasks in self._under_way if job.done() for one in _ended(job, tasks)]
            self._under_way = [(job, tasks) for job, tasks in self._under_way if not job.done()]
            if ended or time.monotonic() >= until:
                return ended
            time.sleep(min(POLL_S, max(0.0, until - time.monotonic())))

    def close(self) -> None:
        """See ``Engine``: jobs that wait or run are cancelled."""
        for job, _ in self._under_way:
            job.cancel(check=False)
        self._under_way, self._given = [], []

    def _submit(self) -> None:
        """Submit what was given, as one array of jobs."""
        size = self._options.tasks
        chunks = [self._given[at : at + size] for at in range(0, len(self._given), size)]
        self._given = []
        if chunks:
            jobs = self._executor.map_array(do_in_turn, [self._work] * len(chunks), chunks)
            self._under_way += list(zip(jobs, chunks, strict=True))


def do_in_turn(work: Work, tasks: Sequence[Task]) -> list[Outcome]:
    """What one job of SLURM does."""
    return [work(task) for task in tasks]


def _ended(job: Any, tasks: list[Task]) -> list[Ended]:
    """The outcomes of a job that has ended."""
    try:
        return [Ended(task, outcome) for task, outcome in zip(tasks, job.result(), strict=True)]
    except Exception as error:  # submitit raises several kinds; all mean that the job did not come to its end
        why = f"its job {job.job_id} ended as {job.state} ({first_line(error)[:120]}); see {job.paths.stderr}"
        return [Ended(task, lost(why)) for task in tasks]


def _set(executor: Any, options: Options) -> Any:
    """The executor with the parameters of sbatch."""
    executor.update_parameters(**{"job_name": "animus3d", **options.parameters})
    return executor


def _submitit() -> Any:
    try:
        import submitit
    except ImportError:
        raise NotAvailable("The engine slurm takes submitit, which is not installed.", GET_IT) from None
    return submitit
