"""What a run's folder tells about it: settings, logs, metrics, a video; and the command that makes what is missing."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.errors import BadInput, CorruptCheckpoint, MissingStage
from stages.files import read_json
from stages.reporting.footage import Footage, find_footage, older
from stages.run_dir import RunDir
from stages.run_dir.layout import MADE_BY, MOTIONS
from stages.run_dir.lock import lock_holder

Hint = tuple[str, str]
"""What is missing or old, and the command that makes it."""

Curve = tuple[list[int], list[float]]
"""Steps and the values that were logged at them."""


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """One stage of a run that was begun."""

    command: str
    state: str  # "finished", "running" or "interrupted"
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    finish: Mapping[str, Any]  # steps, seconds, finished, made_with; empty before the end
    curves: Mapping[str, Curve]


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run."""

    path: Path
    name: str  # what sets it apart from the others of the page
    prompt: str
    source: str  # the stage whose motion is its result: "refined", "motion" or ""
    manifest: Mapping[str, Any]
    stages: Mapping[str, StageRecord]  # by command, in the order of the pipeline
    evaluation: Mapping[str, Any] = field(default_factory=dict)  # eval/metrics.json; empty when it was not measured
    footage: Footage | None = None
    hints: list[Hint]

    @property
    def metrics(self) -> Mapping[str, Mapping[str, Any]]:
        """Metric -> its value, unit and definition."""
        return self.evaluation.get("metrics", {})


def check_runs(paths: list[Path]) -> None:
    """See that ``paths`` are runs, each named once.

    Raises:
        MissingStage: a folder is not there.
        BadInput: a folder is not a run, or is named twice.
    """
    for path in paths:
        if not path.is_dir():
            raise MissingStage(f"There is no run directory {path}.", "Name folders that animus3d has filled.")
        if not (path / "run.json").is_file():
            raise BadInput(f"{path} is not a run: it has no run.json.", "Name folders that animus3d has filled.")
    if len({path.resolve() for path in paths}) < len(paths):
        raise BadInput("A run is named twice.", "Name each once.")


def read_records(paths: list[Path]) -> list[RunRecord]:
    """The runs in ``paths``, in that order.

    Raises:
        MissingStage, BadInput: as ``check_runs``.
        CorruptCheckpoint: a file in a run is damaged.
    """
    check_runs(paths)
    return [_read(RunDir(path), name) for path, name in zip(paths, distinct_names(paths), strict=True)]


def distinct_names(paths: list[Path]) -> list[str]:
    """What sets each path apart: its parts without those that all begin or end with; of a single one its name.

    ``runs/msd/walk`` and ``runs/sds/walk`` are "msd" and "sds".
    """
    parts = [list(path.resolve().parts) for path in paths]
    if len(parts) == 1:
        return [parts[0][-1]]
    for end in (0, -1):
        while all(len(one) > 1 for one in parts) and len({one[end] for one in parts}) == 1:
            for one in parts:
                one.pop(end)
    return ["/".join(one) for one in parts]


def type_for(command: str, run: Path) -> str:
    """``command`` as it is typed for ``run``."""
    return f"animus3d {command} --run {shlex.quote(str(run))}"


def _read(run: RunDir, name: str) -> RunRecord:
    holder = lock_holder(run.path)
    running = "" if holder is None else holder.command
    stages = {command: _stage(run.path / folder, command, running) for folder, command in MADE_BY.items()}
    begun = {command: stage for command, stage in stages.items() if stage is not None}
    done = [folder for folder in MOTIONS if run.stage(folder).is_complete()]
    source = done[0] if done else ""
    made = begun[MADE_BY[source]].finish.get("finished", "") if source and MADE_BY[source] in begun else ""
    evaluation, hints = _evaluation(run.path, source, made)
    footage, about = find_footage(run.path, source, made)
    if not source:
        command = "status" if "distill" in begun else 'distill --prompt "..."'
        hints = [("It has no motion yet", type_for(command, run.path))]
    elif about:
        hints.append((about, type_for("render", run.path)))
    settings = begun["distill"].settings if "distill" in begun else {}
    return RunRecord(
        path=run.path,
        name=name,
        prompt=str(settings.get("prompt") or evaluation.get("prompt") or ""),
        source=source,
        manifest=read_json(run.path / "run.json") or {},
        stages=begun,
        evaluation=evaluation,
        footage=footage,
        hints=hints,
    )


def _stage(folder: Path, command: str, running: str) -> StageRecord | None:
    """A stage from its folder; None when it was not begun."""
    config, finish = read_json(folder / "config.json"), read_json(folder / "complete.json")
    if config is None and finish is None:
        return None
    state = "running" if running == command else "interrupted" if finish is None else "finished"
    config = config or {}
    return StageRecord(
        command=command,
        state=state,
        settings=_mapping(config, "settings", folder / "config.json"),
        inputs=_mapping(config, "inputs", folder / "config.json"),
        finish=finish or {},
        curves=read_curves(folder / "metrics.jsonl"),
    )


def read_curves(path: Path) -> dict[str, Curve]:
    """Every number in a stage's log; lines that are not whole (the last of a killed process) and values that are not
    finite are left out."""
    curves: dict[str, Curve] = {}
    try:
        file = path.open(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    with file:
        for line in file:
            try:
                values = json.loads(line)
                step = int(values.pop("step"))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue
            for name, value in values.items():
                if isinstance(value, (int, float)) and abs(value) <= sys.float_info.max:
                    steps, numbers = curves.setdefault(name, ([], []))
                    steps.append(step)
                    numbers.append(float(value))
    return curves


def _evaluation(run: Path, source: str, made: str) -> tuple[dict[str, Any], list[Hint]]:
    """What ``eval`` found, and what to type where it should be asked (again)."""
    path = run / "eval" / "metrics.json"
    found, command = read_json(path), type_for("eval", run)
    if found is None:
        return {}, [("It is not measured yet", command)]
    metrics = _mapping(found, "metrics", path)
    if not all(isinstance(one, dict) and isinstance(one.get("value"), int | float | None) for one in metrics.values()):
        raise CorruptCheckpoint(f"{path} does not hold metrics with values.", f"Make it again: {command}")
    if not source:
        return {}, []  # of a motion that is no more
    if found.get("source") != source:
        return found, [(f"It was measured on its “{found.get('source')}”, not on its “{source}”", command)]
    return found, [("It was measured before its motion was made again", command)] if older(path, made) else []


def _mapping(content: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    value = content.get(name, {})
    if not isinstance(value, dict):
        raise CorruptCheckpoint(f"{name} in {path} is not an object.", "Make it again with --force.")
    return value
