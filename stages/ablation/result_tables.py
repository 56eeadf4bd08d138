"""The tables of ``ablate``: for people the means with their intervals and the orderings, for programs every number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stages.tables import Cell, Table

Summary = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""As ``stages.ablation.orderings.summary`` makes it."""


def with_interval(mean: float, low: float, high: float) -> str:
    """As in "1.2 [0.9, 1.4]"."""
    return f"{mean:.3g} [{low:.3g}, {high:.3g}]"


def means(table: Summary, metrics: Sequence[str], notes: Sequence[str] = ()) -> Table:
    """A line for every variant, a column for every metric; ``notes`` stand below."""
    rows = []
    for variant, figures in table.items():
        found = (figures.get(metric) for metric in metrics)
        rows.append(
            [variant, *(Cell(f["mean"], with_interval(f["mean"], f["low"], f["high"])) if f else None for f in found)]
        )
    note = "Means over tasks, each the mean of its seeds, with its 95 % interval over tasks (Student's t)."
    return Table(("variant", *map(_spaced, metrics)), rows, (note, *notes))


def verdicts(orderings: Sequence[Mapping[str, Any]]) -> Table:
    """A line for every ordering that the paper claims."""
    rows = []
    for found in orderings:
        difference = None if found["difference"] is None else with_interval(*found["difference"])
        shows = f"{_spaced(found['metric'])} {found['direction']}"
        rows.append([found["claim"], shows, found["full"], difference, found["verdict"]])
    note = "An ordering holds when the interval of the paired difference to the full method lies on its side of zero."
    return Table(("claim", "would show as", "full method", "difference", "verdict"), rows, (note,))


def everything(table: Summary) -> Table:
    """A line for every number."""
    heads = ("variant", "metric", "mean", "low", "high", "units", "difference", "difference_low", "difference_high")
    rows = []
    for variant, figures in table.items():
        for metric, f in figures.items():
            rows.append([variant, metric, f["mean"], f["low"], f["high"], f["units"], *(f["difference"] or [None] * 3)])
    return Table(heads, rows)


def _spaced(metric: str) -> str:
    return metric.replace("_", " ")
