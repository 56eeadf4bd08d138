"""What may be done next: assets come before the jobs that begin from them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

from stages.batch.settings import asset_name
from stages.batch.work import asset_task, job_task
from stages.jobs.engines.engine import Task
from stages.jobs.job import Job


class Queue:
    """The tasks of a batch in the order of its jobs.

    Args:
        jobs: those that are to be done.
        where: what every task says besides: "results", "device", "raster", "publish".
        made: whether an asset of that name is there already.
    """

    def __init__(self, jobs: Iterable[Job], where: dict[str, object], made: Callable[[str], bool]) -> None:
        self._where = where
        self._waiting: dict[str, list[Job]] = {}  # by the asset that they begin from
        self._assets: deque[str] = deque()
        self._ready: deque[Task] = deque()
        self._later: list[tuple[float, Task]] = []  # when to try again
        for job in jobs:
            asset = asset_name(job.asset, job.settings)
            if asset not in self._waiting and made(asset):
                self._waiting[asset] = []
            elif asset not in self._waiting:
                self._waiting[asset] = []
                self._assets.append(asset)
            self._waiting[asset].append(job)
        for asset in [asset for asset in self._waiting if asset not in set(self._assets)]:
            self.made(asset)

    def next(self, slots: int) -> Task | None:
        """What to begin, None when there is nothing now. An asset goes first where ``slots`` would soon be idle."""
        now = time.monotonic()
        due = [task for when, task in self._later if when <= now]
        self._later = [(when, task) for when, task in self._later if when > now]
        self._ready.extend(due)
        if self._assets and len(self._ready) <= slots:
            asset = self._assets.popleft()
            return asset_task(asset, self._waiting[asset][0], self._where)
        return self._ready.popleft() if self._ready else None

    def made(self, asset: str) -> None:
        """The jobs of an asset may begin."""
        self._ready.extend(job_task(job, asset, self._where) for job in self._waiting.pop(asset))

    def cannot_be_made(self, asset: str) -> list[Job]:
        """The jobs that an asset would have had, which are dropped."""
        return self._waiting.pop(asset)

    def again(self, task: Task, seconds: float = 0.0) -> None:
        """Do ``task`` once more, not before ``seconds`` have gone by."""
        self._later.append((time.monotonic() + seconds, task))

    @property
    def empty(self) -> bool:
        """Whether nothing is left to be begun."""
        return not (self._assets or self._ready or self._later)
