"""What is compared between runs: metrics with the best of them, settings that differ, and what made each."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.reporting.record import RunRecord, StageRecord
from stages.tables import DASH, Cell, Table, Value, shown

ARROWS = {"higher": "↑", "lower": "↓"}
"""Which way is better -> how it is shown."""

SAID_OTHERWISE = ("value", "unit", "definition", "better", "unavailable", "warning", "shift")
"""What an entry of ``eval`` holds besides what it was measured on; ``shift`` is a result, the phase that fits best."""

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
    note: str  # definition, what it was measured on, warnings, and how to get what is not available

    @property
    def available(self) -> bool:
        """Whether any run has it."""
        return any(cell.value is not None for cell in self.cells)


def measures(records: Sequence[RunRecord]) -> list[Measure]:
    """Every metric that any of the runs names, in the order in which they are met."""
    names = dict.fromkeys(name for record in records for name in record.metrics)
    return [_measure(name, records) for name in names]


def metrics_table(records: Sequence[RunRecord]) -> Table:
    """The metrics that any run has, a row each, a column a run; as notes what all of them mean."""
    found = measures(records)
    rows: list[list[Cell | Value]] = [
        [one.name, one.unit, Cell(one.better, ARROWS.get(one.better, "")), *one.cells] for one in found if one.available
    ]
    notes = [f"{one.name}: {one.note}" for one in found]
    return Table(("metric", "unit", "better", *(record.name for record in records)), rows, notes)


def _measure(name: str, records: Sequence[RunRecord]) -> Measure:
    """The best, as it is shown, is marked among those that have a value, if they do not all show the same, it is known
    which way is better, and they were measured in the same way."""
    entries = [(record, record.metrics.get(name)) for record in records]
    found = [(record, entry) for record, entry in entries if entry is not None]
    with_value = [(record, entry) for record, entry in found if entry["value"] is not None]
    conditions = dict.fromkeys(_conditions(record, entry) for record, entry in with_value or found[:1])
    ways = {entry["better"] for _, entry in found if entry.get("better") in ARROWS}
    better = ways.pop() if len(ways) == 1 else ""
    values = [entry["value"] for _, entry in with_value if math.isfinite(entry["value"])]
    best = ""
    if better and values and len(conditions) == 1 and len(set(map(shown, map(float, values)))) > 1:
        best = shown(float(max(values) if better == "higher" else min(values)))
    cells = []
    for _, entry in entries:
        if entry is None:
            cells.append(Cell(None))
        elif entry["value"] is None:
            cells.append(Cell(None, "not available"))
        else:
            value = float(entry["value"])
            cells.append(Cell(value, best=shown(value) == best))
    note = " / ".join(conditions)
    note = note if len(conditions) == 1 else f"not measured in the same way: {note}"
    unit = str(found[0][1].get("unit", ""))
    return Measure(name.replace("_", " "), unit, better, cells, ". ".join([note, *_remarks(found)]))


def _conditions(record: RunRecord, entry: Mapping[str, Any]) -> str:
    """The definition of a metric and what it was measured on: where this is equal, values can be compared."""
    definition = str(entry.get("definition") or f"definition {NOT_RECORDED}")
    frames = None if entry["value"] is None else record.evaluation.get("frames")
    facts = {"frames": frames} | {name: value for name, value in entry.items() if name not in SAID_OTHERWISE}
    parts = [f"{name.replace('_', ' ')} {value}" for name, value in facts.items() if value is not None]
    return "; ".join([definition, *parts])


def _remarks(found: Sequence[tuple[RunRecord, Mapping[str, Any]]]) -> list[str]:
    """Warnings about a metric's values, and how to get those that are not available."""
    warnings = dict.fromkeys(str(entry["warning"]).rstrip(".") for _, entry in found if entry.get("warning"))
    lacking = [entry for _, entry in found if entry["value"] is None]
    ways = dict.fromkeys(str(entry.get("unavailable") or NOT_RECORDED) for entry in lacking)
    return [*warnings, *(f"Not available; how to get it: {way}" for way in ways)]


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
