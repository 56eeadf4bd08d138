"""What is compared between runs: metrics with the best of them, settings that differ, and what made each."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.reporting.record import RunRecord, StageRecord
from stages.tables import DASH, Cell, Table, Value

ARROWS = {"higher": "↑", "lower": "↓"}
"""Which way is better -> how it is shown."""

NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class Row:
    """One line about all runs."""

    head: str
    cells: list[str]  # one a run

    @property
    def same(self) -> bool:
        """Whether it is the same in all runs, of which there are several."""
        return len(self.cells) > 1 and len(set(self.cells)) == 1


@dataclass(frozen=True)
class Measure:
    """One metric of all runs."""

    name: str
    unit: str
    better: str  # "higher", "lower" or "": not known
    cells: list[Cell]  # one a run
    note: str  # definition, conditions, and how to get what is not available


def measures(records: Sequence[RunRecord]) -> list[Measure]:
    """Every metric that any of the runs has, in the order in which they are met."""
    names = dict.fromkeys(name for record in records for name in record.metrics)
    return [_measure(name, records) for name in names]


def metrics_table(records: Sequence[RunRecord]) -> Table:
    """The metrics, a row each, a column a run; definitions as notes."""
    found = measures(records)
    rows: list[list[Cell | Value]] = [
        [one.name, one.unit, Cell(one.better, ARROWS.get(one.better, "")), *one.cells] for one in found
    ]
    notes = [f"{one.name}: {one.note}" for one in found]
    return Table(("metric", "unit", "better", *(record.name for record in records)), rows, notes)


def _measure(name: str, records: Sequence[RunRecord]) -> Measure:
    """The best is marked among several values of which it is known what is better, if they are not all equal and were
    measured in the same way."""
    found = [(record, record.metrics[name]) for record in records if name in record.metrics]
    first = found[0][1]
    conditions = {_conditions(record, metric) for record, metric in found if metric["value"] is not None}
    better = {metric["better"] for _, metric in found if metric.get("better") in ARROWS}
    direction = better.pop() if len(better) == 1 else ""
    values = [metric["value"] for _, metric in found if metric["value"] is not None and math.isfinite(metric["value"])]
    best = None
    if direction and len(conditions) == 1 and len(set(values)) > 1:
        best = (max if direction == "higher" else min)(values)
    missing = [str(metric.get("unavailable") or NOT_RECORDED) for _, metric in found if metric["value"] is None]
    notes = sorted(conditions) or [_conditions(*found[0])]
    note = notes[0] if len(notes) == 1 else "not measured in the same way: " + " / ".join(notes)
    if missing:
        note += ". Not available; how to get it: " + " / ".join(dict.fromkeys(missing))
    cells = []
    for record in records:
        metric = record.metrics.get(name)
        if metric is None:
            cells.append(Cell(None))
        elif metric["value"] is None:
            cells.append(Cell(None, "not available"))
        else:
            value = float(metric["value"])
            cells.append(Cell(value, best=best is not None and value == best))
    return Measure(name.replace("_", " "), str(first.get("unit", "")), direction, cells, note)


def _conditions(record: RunRecord, metric: Mapping[str, Any]) -> str:
    """The definition of a metric and under what it was measured: where this is equal, values can be compared."""
    parts = [str(metric.get("definition", "")) or f"definition {NOT_RECORDED}"]
    if metric.get("backbone"):
        parts.append(f"network {metric['backbone']}")
    for count in (_count(metric, "views"), _count(metric, "frames") or _count(record.evaluation, "frames")):
        if count and count not in parts[0]:
            parts.append(count)
    if metric.get("reference"):
        parts.append(f"reference: {metric['reference']}")
    return "; ".join(parts)


def _count(content: Mapping[str, Any], name: str) -> str:
    return f"{content[name]} {name}" if content.get(name) is not None else ""


def setting_rows(records: Sequence[RunRecord], *, differing: bool) -> list[tuple[str, list[Row]]]:
    """Command -> settings and inputs of that stage; with ``differing`` only those that are not the same in all runs
    that have the stage."""
    groups = []
    for command in _commands(records):
        stages = [record.stages.get(command) for record in records]
        names = dict.fromkeys(name for stage in stages if stage is not None for name in _facts(stage))
        rows = []
        for name in names:
            cells = [DASH if stage is None else _typed(_facts(stage).get(name, DASH)) for stage in stages]
            present = {cell for cell, stage in zip(cells, stages, strict=True) if stage is not None}
            if not differing or len(present) > 1:
                rows.append(Row(name, cells))
        if differing and any(stage is None for stage in stages):
            rows.insert(0, Row("state", ["not run" if stage is None else stage.state for stage in stages]))
        if rows:
            groups.append((command, rows))
    return groups


def _facts(stage: StageRecord) -> dict[str, Any]:
    """Settings of a stage and what it read."""
    return {**stage.settings, **{f"from {name}": value for name, value in stage.inputs.items()}}


def _typed(value: Any) -> str:
    """A setting as ``--set`` takes it."""
    if isinstance(value, list):
        return ",".join(map(_typed, value))
    return value if isinstance(value, str) else json.dumps(value)


def provenance_rows(records: Sequence[RunRecord]) -> list[tuple[str, list[Row]]]:
    """What made the runs: the asset, then each stage that any of them has."""
    facts: dict[str, list[dict[str, str]]] = {"asset": [dict(_asset(record.manifest)) for record in records]}
    for command in _commands(records):
        facts[command] = [dict(_origin(record.stages.get(command))) for record in records]
    groups = []
    for name, columns in facts.items():
        heads = dict.fromkeys(head for one in columns for head in one)
        groups.append((name, [Row(head, [one.get(head, DASH) for one in columns]) for head in heads]))
    return groups


def _commands(records: Sequence[RunRecord]) -> list[str]:
    """The stages that any of the runs has, in the order of the pipeline."""
    order = ("fit-lora", "distill", "refine")
    return [command for command in order if any(command in record.stages for record in records)]


def _asset(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is recorded about where the asset came from."""
    yield "made from", _joined(manifest.get("source"))
    yield "hash", _joined(manifest.get("asset"))
    yield "created", _joined(manifest.get("created"))
    yield "software", _software(manifest)


def _origin(stage: StageRecord | None) -> Iterator[tuple[str, str]]:
    """What is recorded about how a stage was made."""
    if stage is None:
        return
    finish, made = stage.finish, stage.finish.get("made_with") or {}
    yield "state", stage.state
    yield "seed", _joined(stage.settings.get("seed"))
    if finish:
        yield "took", f"{finish.get('steps', '?')} steps, {finish.get('seconds', '?')} s"
        yield "finished", _joined(finish.get("finished"))
    yield "prior", _joined(stage.settings.get("prior"), stage.inputs.get("prior"))
    yield "software", _software(made)
    threads = made.get("threads")
    used = None if threads is None else f"{threads} of {made.get('cores')} threads"
    device = stage.settings.get("device")
    yield "hardware", _joined(made.get("gpu") or made.get("processor") or f"{device} (which one: {NOT_RECORDED})", used)
    yield "system", _joined(made.get("platform"))


def _software(made: Mapping[str, Any]) -> str:
    """Packages with their versions, the commit that they were at, and Python."""
    versions = [f"{name} {value}" for name, value in (made.get("versions") or {}).items()]
    python = made.get("python")
    return _joined(*versions[:1], made.get("commit"), *versions[1:], python and f"python {python}")


def _joined(*parts: Any) -> str:
    """What is recorded of ``parts``."""
    return ", ".join(str(part) for part in parts if part is not None) or NOT_RECORDED
