"""Tasks in processes of this machine (``concurrent.futures``).

Every slot is a pool of one process: when it dies, it is known which task it had, and the others go on.
"""

from __future__ import annotations

import os
import signal
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.context import BaseContext

from stages.jobs.engines.engine import Ended, Named, Outcome, Task, Work, lost
from stages.threads import leave_with_parent


class Here:
    """``slots`` processes, each with ``threads`` threads and, where there are ``cards``, one of them.

    With ``fork`` they are forked from a process that begins at once and imports what ``work`` needs, once for all: for
    Linux, and for workers that leave CUDA alone. Else each imports for itself.
    """

    def __init__(self, work: Work, slots: int, *, threads: int = 1, cards: int = 0, fork: bool = False) -> None:
        self.slots = slots
        self._work, self._threads, self._cards = work, threads, cards
        self._pools: list[ProcessPoolExecutor | None] = [None] * slots
        self._context: BaseContext = get_context("spawn")
        if fork:
            self._context = get_context("forkserver")
            _begin_forkserver([work.module] if isinstance(work, Named) else [])
        self._under_way: dict[Future[Outcome], tuple[Task, int]] = {}

    def start(self, task: Task) -> None:
        """See ``Engine``."""
        busy = {slot for _, slot in self._under_way.values()}
        slot = next(number for number in range(self.slots) if number not in busy)
        try:
            future = self._pool(slot).submit(self._work, task)
        except BrokenProcessPool:  # it died between two tasks
            self._drop(slot)
            future = self._pool(slot).submit(self._work, task)
        self._under_way[future] = task, slot

    def wait(self, seconds: float) -> list[Ended]:
        """See ``Engine``."""
        ended = []
        for future in wait(self._under_way, timeout=seconds, return_when=FIRST_COMPLETED).done:
            task, slot = self._under_way.pop(future)
            try:
                ended.append(Ended(task, future.result()))
            except BrokenProcessPool:
                self._drop(slot)
                ended.append(Ended(task, lost("its process was killed, or there was no memory left")))
        return ended

    def close(self) -> None:
        """See ``Engine``."""
        for slot in range(self.slots):
            self._drop(slot)
        self._under_way.clear()

    def _pool(self, slot: int) -> ProcessPoolExecutor:
        pool = self._pools[slot]
        if pool is None:
            card = slot % self._cards if self._cards else None
            pool = ProcessPoolExecutor(1, self._context, begin_worker, (self._threads, card))
            self._pools[slot] = pool
        return pool

    def _drop(self, slot: int) -> None:
        """End the process of a slot at once; the next task gets a new one."""
        pool, self._pools[slot] = self._pools[slot], None
        if pool is not None:
            for process in list((pool._processes or {}).values()):  # 3.14 has kill_workers for that
                process.kill()
            pool.shutdown(wait=True, cancel_futures=True)


def _begin_forkserver(modules: list[str]) -> None:
    """Begin the process that workers are forked from, with ``modules`` imported; it leaves interruptions to this one
    from its first moment on."""
    from multiprocessing import forkserver  # Windows has none

    forkserver.set_forkserver_preload(modules)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)


def begin_worker(threads: int, card: int | None) -> None:
    """Begin a worker: its threads, its card; it leaves interruptions to its parent, and ends when that does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if card is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(card)
    import torch

    torch.set_num_threads(threads)
    leave_with_parent()
