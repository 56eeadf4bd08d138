"""How many threads a program takes, and how they wait.

Threads of OpenMP that wait for each other spin: beside another busy process two of them on two cores can take twenty
times as long as alone. So they are told to sleep while they wait, and there are no more of them than cores that this
process may use, as the system's affinity and the container's quota say. How busy the machine is does not count: it
changes, and results must not depend on it. What the user has set stays.

All of this is read by the OpenMP library when torch is imported; ``settle`` comes before.
"""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path
from threading import Thread

PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
"""How the OpenMP of GNU (which PyTorch's own wheels carry) and that of Intel and LLVM are told to sleep."""

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Threads:
    """How many, and why."""

    count: int
    why: str


def choose() -> Threads:
    """``OMP_NUM_THREADS`` where it is set, else the cores that this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return Threads(int(asked), "OMP_NUM_THREADS")
    cores, why = os.cpu_count() or 1, "the machine's cores"
    if hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) < cores:
        cores, why = len(os.sched_getaffinity(0)), "the cores that this process may run on"
    quota = container_quota()
    if quota is not None and quota < cores:
        cores, why = quota, "the container's quota"
    return Threads(cores, why)


def container_quota(root: Path = CGROUP) -> int | None:
    """Whole cores that the control group of a container allows, at least one; None where it sets no limit."""
    try:  # version 2: "200000 100000", or "max 100000"
        quota, period = (root / "cpu.max").read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        try:  # version 1; -1 is no limit
            quota = (root / "cpu" / "cpu.cfs_quota_us").read_text(encoding="utf-8").strip()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text(encoding="utf-8").strip()
        except OSError:
            return None
    try:
        return max(1, math.floor(int(quota) / int(period))) if int(quota) > 0 else None
    except (ValueError, ZeroDivisionError):
        return None


def settle() -> Threads:
    """Choose, and have every library of this process and of those that it starts keep to it."""
    chosen = choose()
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(chosen.count)
        return chosen
    if "OMP_WAIT_POLICY" not in os.environ:  # the others would go before it
        for name, value in PASSIVE.items():
            os.environ.setdefault(name, value)
    os.environ.setdefault("OMP_NUM_THREADS", str(chosen.count))
    os.environ.setdefault("MKL_NUM_THREADS", str(chosen.count))
    return chosen


def leave_with_parent() -> None:
    """Have this process, which ``multiprocessing`` has started, end as soon as the one that started it does."""
    parent = parent_process()
    assert parent is not None

    def leave() -> None:
        parent.join()
        os._exit(1)

    Thread(target=leave, daemon=True).start()
