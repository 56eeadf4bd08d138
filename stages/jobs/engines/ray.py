"""Tasks on Ray: a cluster that runs, or one of this machine that is begun for the batch."""

from __future__ import annotations

import os
from typing import Any

from stages.errors import NotAvailable, first_line
from stages.jobs.engines.engine import Ended, Outcome, Task, Work, lost

GET_IT = "Install it: pip install 'animus3d[ray]'"


class Ray:
    """As many tasks at a time as the cluster has cards or, where it has none, cores; or ``slots``.

    Args:
        address: of a running cluster, as ``ray.init`` takes it; None: one of this machine.
    """

    def __init__(self, work: Work, slots: int | None, address: str | None) -> None:
        try:
            import ray
        except ImportError:
            raise NotAvailable("The engine ray takes Ray, which is not installed.", GET_IT) from None
        self._ray = ray
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns of a default to come
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it tells its makers
        own = {} if address else {"include_dashboard": False, "num_cpus": slots}
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", **own)
        except Exception as error:  # it raises many kinds
            where = f"at {address}" if address else "here"
            raise NotAvailable(f"Ray cannot be reached {where}: {first_line(error)}.", "See: ray status") from None
        there = ray.cluster_resources()
        cards = int(there.get("GPU", 0))
        self.slots = slots or cards or max(1, int(there.get("CPU", 1)))

        def do(task: Task) -> Outcome:  # it takes functions only
            return work(task)

        self._work = ray.remote(num_cpus=1, num_gpus=1 if cards else 0, max_retries=0)(do)
        self._under_way: dict[Any, Task] = {}

    def start(self, task: Task) -> None:
        """See ``Engine``."""
        self._under_way[self._work.remote(task)] = task

    def wait(self, seconds: float) -> list[Ended]:
        """See ``Engine``."""
        if not self._under_way:
            return []
        try:
            there, _ = self._ray.wait(list(self._under_way), num_returns=1, timeout=seconds)
            return [Ended(self._under_way.pop(ref), self._outcome(ref)) for ref in there]
        except (self._ray.exceptions.RaySystemError, ConnectionError) as error:
            raise NotAvailable(
                f"Ray has gone away: {first_line(error)}.", "Start it again; the same command goes on."
            ) from None

    def close(self) -> None:
        """See ``Engine``."""
        for ref in self._under_way:
            self._ray.cancel(ref, force=True)
        self._under_way.clear()
        self._ray.shutdown()

    def _outcome(self, ref: Any) -> Outcome:
        try:
            outcome: Outcome = self._ray.get(ref)
            return outcome
        except self._ray.exceptions.RaySystemError:
            raise
        except self._ray.exceptions.RayError as error:
            return lost(f"its worker died ({first_line(error)[:120]})")
