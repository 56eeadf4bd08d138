"""What every engine offers: tasks go in, and come out when they have ended, however that was.

A task is JSON with an "id"; what a worker makes of it is JSON too, with a "state": "done", "failed" (with "stage",
"what", "hint", "code") or "busy" (another command works on the run). An engine adds "lost": the worker has died.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

Task = dict[str, Any]
Outcome = dict[str, Any]
Work = Callable[[Task], Outcome]


@dataclass(frozen=True)
class Named:
    """Work by its name: imported by who does it, while others still read what is to be done."""

    module: str
    function: str

    def __call__(self, task: Task) -> Outcome:
        outcome: Outcome = getattr(import_module(self.module), self.function)(task)
        return outcome


@dataclass(frozen=True)
class Ended:
    """A task that has ended."""

    task: Task
    outcome: Outcome


class Engine(Protocol):
    """Runs tasks in workers, which stay alive between tasks."""

    slots: int
    """Tasks that may be under way at a time."""

    def start(self, task: Task) -> None:
        """Have a worker do ``task``; fewer than ``slots`` are under way."""
        ...

    def wait(self, seconds: float) -> list[Ended]:
        """What has ended, as soon as something has; nothing after ``seconds``."""
        ...

    def close(self) -> None:
        """End the workers, and what they are doing. Closed once more, nothing happens."""
        ...


def lost(why: str) -> Outcome:
    """The outcome of a task whose worker has died."""
    return {"state": "lost", "what": why}
