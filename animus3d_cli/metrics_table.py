"""The table of ``eval``: one column a run, the best of each line marked."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.table import Column, Table
from rich.text import Text

Results = Sequence[Mapping[str, Any]]
ARROWS = {"higher": "↑", "lower": "↓", None: ""}
NOTHING = "-"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def heading(results: Results) -> list[str]:
    """What each column is: the run, which stage its motion is from, its sentence."""
    said = [f"{one['run']}: {one['source']}, {one['prompt']!r}" for one in results]
    return said if len(said) == 1 else [f"{_letter(column)}  {line}" for column, line in enumerate(said)]


def metrics_table(results: Results) -> Table:
    """Every metric that was measured in one of the runs at least."""
    one = len(results) == 1
    values = [Column("value" if one else _letter(i), justify="right", no_wrap=True) for i in range(len(results))]
    columns = [Column("metric", no_wrap=True), Column("", no_wrap=True), *values, Column("unit", no_wrap=True)]
    table = Table(*columns, box=None, padding=(0, 1, 0, 0), header_style="bold")
    for name, entries in _lines(results):
        if all(entry["value"] is None for entry in entries):
            continue
        best = _best(entries)
        cells = [
            Text(
                _shown(entry) + ("*" if column in best else ("" if one else " ")),
                "bold green" if column in best else "",
            )
            for column, entry in enumerate(entries)
        ]
        table.add_row(name.replace("_", " "), ARROWS[entries[0]["better"]], *cells, Text(entries[0]["unit"], "dim"))
    return table


def remarks(results: Results, width: int) -> list[str]:
    """Who is best in how many lines, who is so by standing still, what was not available and how to get it."""
    from stages.metrics.catalogue import NOT_MOVING

    lines = []
    if len(results) > 1:
        best = [column for _, entries in _lines(results) for column in _best(entries)]
        counts = ", ".join(f"{_letter(column)} {best.count(column)}" for column in range(len(results)))
        lines.append(f"* best; in so many lines: {counts}. ↑ higher is better, ↓ lower.")
    for column, one in enumerate(results):
        amplitude = one["metrics"]["motion_amplitude"]["value"]
        if amplitude < NOT_MOVING:
            who = "It" if len(results) == 1 else _letter(column)
            lines.append(f"{who} hardly moves (motion amplitude {amplitude:.2g} %): ↓ is then low by standing still.")
    warnings = (entry["warning"] for _, entries in _lines(results) for entry in entries if "warning" in entry)
    for warning in dict.fromkeys(warnings):
        lines += textwrap.wrap(f"warning: {warning}", width - 1, subsequent_indent="  ")
    groups: dict[str, list[str]] = {}
    for name, entries in _lines(results):
        if all(entry["value"] is None for entry in entries):
            groups.setdefault(entries[0]["unavailable"], []).append(name.replace("_", " "))
    lines += ["Not available:"] if groups else []
    for how, names in groups.items():
        lines += textwrap.wrap(
            f"{', '.join(names)}: {how}",
            width - 1,
            initial_indent="  ",
            subsequent_indent="    ",
            break_on_hyphens=False,
        )
    return lines


def _lines(results: Results) -> Iterable[tuple[str, list[Mapping[str, Any]]]]:
    """Each metric with its entry in every run."""
    for name in results[0]["metrics"]:
        yield name, [one["metrics"][name] for one in results]


def _best(entries: Sequence[Mapping[str, Any]]) -> list[int]:
    """The columns with the best value as it is shown; none where a run lacks it, all are equal, or no way is better."""
    better = entries[0]["better"]
    if len(entries) < 2 or better is None or any(entry["value"] is None for entry in entries):
        return []
    shown = [float(_shown(entry)) for entry in entries]
    top = max(shown) if better == "higher" else min(shown)
    best = [column for column, value in enumerate(shown) if value == top]
    return best if len(best) < len(entries) else []


def _shown(entry: Mapping[str, Any]) -> str:
    """At most seven characters, so that four runs fit beside each other."""
    value = entry["value"]
    if value is None:
        return NOTHING
    for below, digits in ((1e-3, ".0e"), (1e-2, ".2g"), (1e-1, ".3g"), (1e4, ".4g")):
        if abs(value) < below:
            return f"{value:{digits}}" if value else "0"
    return f"{value:.1e}"


def _letter(column: int) -> str:
    return LETTERS[column] if column < len(LETTERS) else str(column + 1)
