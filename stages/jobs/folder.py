"""The folder of a batch. What has become of a job is read off its own run directory, and noted nowhere else.

::

    RESULTS/
      batch.json             the jobs, as data
      assets/NAME/           a run that jobs begin from: the asset, its rig and its LoRA, made once
      jobs/NAME/             a run as any other, with job.json (what it is) and complete.json (it is done)
      failed/NAME.json       why a job has failed
      .lock .lock.json       the batch that is running here
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from stages.errors import BadInput, CorruptCheckpoint, MissingStage, SettingsDiffer
from stages.files import read_json, write_json
from stages.jobs.job import Job

FORMAT = 1
MANIFEST, JOB, COMPLETE = "batch.json", "job.json", "complete.json"


class BatchFolder:
    """The folder of a batch; nothing is created before something is written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def is_one(path: Path) -> bool:
        """Whether a batch is kept in ``path``."""
        return (path / MANIFEST).is_file()

    def run_of(self, name: str) -> Path:
        """The run directory of a job."""
        return self.path / "jobs" / name

    def asset_of(self, name: str) -> Path:
        """The run directory that jobs begin from."""
        return self.path / "assets" / name

    def put_jobs(self, jobs: Sequence[Job]) -> None:
        """Keep the jobs, in their order. Raises ``CannotWrite``."""
        wanted = {"format": FORMAT, "jobs": [job.as_json() for job in jobs]}
        if self._manifest() != wanted:
            write_json(self.path / MANIFEST, wanted)

    def jobs(self) -> list[Job]:
        """The jobs. Raises ``MissingStage`` where there is no batch, ``CorruptCheckpoint``."""
        manifest = self._manifest()
        if manifest is None:
            raise MissingStage(f"{self.path} holds no batch.", "Begin one: animus3d batch jobs.csv --out RESULTS")
        try:
            return [Job.of_json(one) for one in manifest["jobs"]]
        except (KeyError, TypeError):
            raise CorruptCheckpoint(f"{self.path / MANIFEST} does not hold jobs.", "Remove it.") from None

    def is_done(self, job: Job) -> bool:
        """Whether a job has been done: this one, and not another of its name."""
        run = self.run_of(job.name)
        with suppress(CorruptCheckpoint):
            return (run / COMPLETE).exists() and read_json(run / JOB) == job.identity
        return False

    def failure(self, name: str) -> dict[str, Any] | None:
        """Why a job has failed: ``{"stage", "what", "hint", "code"}``; None when it has not."""
        with suppress(CorruptCheckpoint):
            return read_json(self._failed(name))
        return None

    def put_failure(self, name: str, why: Mapping[str, Any]) -> None:
        """Keep why a job has failed."""
        write_json(self._failed(name), why)

    def forget_failure(self, name: str) -> None:
        """A job that is tried again, or done, has not failed."""
        self._failed(name).unlink(missing_ok=True)

    def _failed(self, name: str) -> Path:
        return self.path / "failed" / f"{name}.json"

    def _manifest(self) -> dict[str, Any] | None:
        manifest = read_json(self.path / MANIFEST)
        if manifest is not None and manifest.get("format", 0) > FORMAT:
            raise BadInput(f"{self.path} was made by a newer animus3d.", "Update animus3d, or choose another --out.")
        return manifest


def claim(run: Path, identity: Mapping[str, Any]) -> None:
    """Make ``run`` that of a job, by what makes the job. Raises ``SettingsDiffer`` when it is another's."""
    known = read_json(run / JOB)
    if known is None:
        write_json(run / JOB, identity)
    elif known != identity:
        raise SettingsDiffer(
            f"{run} holds another job of this name.", "Give this one another name, or remove that folder."
        )
