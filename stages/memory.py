"""How much memory this process may use."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def memory_bytes(root: Path = CGROUP) -> int | None:
    """The machine's memory, or what the container's quota leaves of it; None where the system does not say."""
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return None
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # version 2, version 1
        try:
            there = min(there, int((root / name).read_text(encoding="utf-8")))
        except (OSError, ValueError):  # no quota: "max"
            continue
    return there if there > 0 else None
