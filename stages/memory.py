"""How much memory is left for this process, and what to say where that is too little.

A system that runs out of memory ends a process without a word, or swaps for hours. So a stage compares what it is going
to need (``stages.needs``) with what is left, before its first step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from stages.errors import NotAvailable

CGROUP, SELF = Path("/sys/fs/cgroup"), Path("/proc/self")
VERSIONS = (
    ("memory.max", "memory.current", "inactive_file "),  # of cgroups, version 2
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file "),  # version 1
)
"""Of a container: its quota, what it uses, and the line of ``memory.stat`` about files that give way."""
LIMITS = (("RLIMIT_DATA", "VmData:"), ("RLIMIT_AS", "VmSize:"))
"""Of a process (``ulimit -d``, ``-v``), and what of it is used."""


def free_bytes(root: Path = CGROUP) -> int:
    """What this process can still take: the least of what the machine has left (swap included), the container's quota
    and the limits of the process leave."""
    left = [psutil.virtual_memory().available + psutil.swap_memory().free, *_left_by_quotas(root), *_left_by_limits()]
    return max(0, min(left))


def _left_by_quotas(root: Path) -> Iterator[int]:
    """Of the container's own group, and of those that it lies in as far as they can be seen from within."""
    for quota, used, gives_way in VERSIONS:
        for folder in _groups(root):
            most, now = _number(folder / quota), _number(folder / used)
            if most is None or now is None:
                continue
            told = _text((folder / used).with_name("memory.stat")).splitlines()
            files = next((int(line.split()[1]) for line in told if line.startswith(gives_way)), 0)
            yield most - now + files


def _groups(root: Path) -> list[Path]:
    """Folders of the process's group and of all above it, ``root`` last."""
    named = next((line[3:] for line in _text(SELF / "cgroup").splitlines() if line.startswith("0::")), "/")
    own = root / named.lstrip("/")
    return [own, *(folder for folder in own.parents if folder.is_relative_to(root))] if own != root else [root]


def _left_by_limits() -> Iterator[int]:
    try:
        import resource
    except ImportError:  # Windows
        return
    status = dict(line.split(maxsplit=1) for line in _text(SELF / "status").splitlines() if len(line.split()) > 1)
    for name, used in LIMITS:
        most = resource.getrlimit(getattr(resource, name))[0]
        if most != resource.RLIM_INFINITY and used in status:
            yield most - 1024 * int(status[used].split()[0])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    try:
        return int(_text(path))
    except ValueError:  # not there, or no quota: "max"
        return None


@dataclass(frozen=True)
class Knob:
    """A setting with which a stage's need grows.

    ``says`` gives what a person types for a value, ``needed`` the bytes with it; ``least`` is the smallest that is
    worth anything.
    """

    says: Callable[[int], str]
    value: int
    needed: Callable[[int], float]
    least: int = 1

    def fits(self, room: float) -> int | None:
        """The largest value, of two digits, with which no more than ``room`` bytes are needed; None where there is
        none."""
        value = self.value
        while value >= self.least:
            if self.needed(value) <= room:
                return value
            value = _smaller(value)
        return None


def _smaller(value: int) -> int:
    """The next number of two digits below ``value``."""
    step = 10 ** max(0, len(str(value - 1)) - 2)
    return (value - 1) // step * step


def check_memory(
    stage: str,
    needed: float,
    knobs: Sequence[Knob] = (),
    *,
    least: float = 0.0,
    smaller: str = "",
    root: Path = CGROUP,
) -> None:
    """Nothing where ``needed`` bytes are left.

    ``least`` are the bytes that are needed whatever it works on; where they are left, but no knob does it, ``smaller``
    says what else does.

    Raises:
        NotAvailable: they are not left. It says with which setting the stage would fit.
    """
    room = free_bytes(root)
    if needed <= room:
        return
    found = ((knob, knob.fits(room)) for knob in knobs)
    fitting = [knob.says(value) for knob, value in found if value is not None]
    hint = smaller if least <= room and smaller else "Close other programs, or take a machine that has more."
    if fitting:
        hint = f"It fits with {' or '.join(fitting)}."
    raise NotAvailable(f"{stage} needs about {_said(needed)} of memory, and {_said(room)} are free.", hint)


def _said(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
