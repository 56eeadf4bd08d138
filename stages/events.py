"""What a stage tells whoever is watching: typed events, drawn by the command line, ignored by tests.

A stage calls ``report(event)``; it never prints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Started:
    """A stage (or a numbered part of one) begins; ``total`` steps lie ahead, ``done`` of them already behind."""

    name: str
    total: int
    done: int = 0


@dataclass(frozen=True)
class Progress:
    """``step`` steps are done; ``metrics`` are scalars worth showing."""

    step: int
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Note:
    """One line of text for the person watching."""

    text: str


@dataclass(frozen=True)
class Caution:
    """One line about something that is allowed but probably not what the person wants."""

    text: str


@dataclass(frozen=True)
class Wrote:
    """A file that is of use to the person watching was written."""

    path: Path
    what: str


@dataclass(frozen=True)
class Finished:
    """The stage (or part) begun by the last ``Started`` is complete."""

    name: str


Event = Started | Progress | Note | Caution | Wrote | Finished
Report = Callable[[Event], None]


def silent(event: Event) -> None:
    """A ``Report`` that ignores everything."""
