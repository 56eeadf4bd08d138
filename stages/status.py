"""status: how far a run is, also while it is being written; takes no lock and writes nothing.

    animus3d status
    animus3d status demo --json

The JSON is ``RunStatus`` as it stands below; its keys stay.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stages.errors import CorruptCheckpoint, MissingStage
from stages.files import read_json
from stages.run_dir import RunDir, resolve_run_path
from stages.run_dir.layout import BY_FOLDER, FIT, MADE_BY
from stages.run_dir.lock import Holder, lock_holder
from stages.run_dir.soundness import RESULT, damaged

FLAGS = ("prompt", "steps", "seed", "prior", "profile", "device", "raster", "object", "skeleton", "mesh", "pose")
"""Settings that are typed as --NAME; others as --set NAME=VALUE."""

DAMAGED = "is damaged: it is not what was written."
PLY = "canonical.ply"


@dataclass(frozen=True, kw_only=True)
class StageStatus:
    """One stage of a run."""

    command: str  # what fills it: "reconstruct", "rig", "fit-lora", "distill", "refine", "render", "eval"
    folder: str  # in the run
    state: str  # "not begun", "running", "interrupted", "complete", "outdated" (what it read has changed) or "damaged"
    step: int | None = None  # done; of an interrupted stage those that its last checkpoint keeps
    steps: int | None = None  # to do in all
    seconds: float | None = None  # since it was begun or gone on with last, up to its last sign of life
    changed: Mapping[str, Any] | None = None  # settings that differ from the defaults; None: not known
    read: Mapping[str, str] | None = None  # what it was made from: name -> short hash
    problem: str = ""  # what is outdated or damaged
    bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """A whole run."""

    run: str  # its folder
    source: str  # the file that its asset came from
    num_gaussians: int | None
    facing: str  # "+z (98 % sure)"; nothing where it is not known
    running: Holder | None  # the command that is working on it: {"command", "pid", "host", "started"}, or null
    stages: list[StageStatus]  # in the order of the pipeline
    bytes: int
    next: str  # the command to type next


def run(run: RunDir) -> RunStatus:
    """How far ``run`` is. Raises ``MissingStage`` when there is no such folder."""
    if not run.path.is_dir():
        raise MissingStage(
            f"There is no run directory {run.path}.", "Begin one: animus3d reconstruct FILE, or give --run DIR."
        )
    holder = lock_holder(run.path)
    hashes = run.hashes()
    stages = [_asset(run, holder)]
    stages += [_stage(run, name, command, hashes, holder) for name, command in MADE_BY.items()]
    stages += [_outcome(run, "render", "renders", "*", holder), _outcome(run, "eval", "eval", "metrics.json", holder)]
    return RunStatus(
        run=str(run.path),
        source=str((read_json(run.path / "run.json") or {}).get("source") or (stages[0].read or {}).get("file", "")),
        num_gaussians=_count(run.canonical_ply),
        facing=_facing(run),
        running=holder,
        stages=stages,
        bytes=_size(run.path),
        next=_next(run.path, stages),
    )


def _outcome(run: RunDir, command: str, folder: str, pattern: str, holder: Holder | None) -> StageStatus:
    """A stage without steps: complete when its folder holds what it makes."""
    there = any((run.path / folder).glob(pattern))
    state = "complete" if there else "not begun"
    if holder is not None and holder.command == command:
        state = "running"
    return StageStatus(command=command, folder=folder, state=state, bytes=_size(run.path / folder))


def _asset(run: RunDir, holder: Holder | None) -> StageStatus:
    """``reconstruct``: complete when the run has an asset; from photos it has steps and checkpoints before."""
    asset = _outcome(run, "reconstruct", "asset", PLY, holder)
    if asset.state == "complete" and run.asset_is_damaged():
        made_from = {"file": str(run.source())} if run.source() else None
        return replace(asset, state="damaged", problem=f"{run.canonical_ply} {DAMAGED}", read=made_from)
    if asset.state == "complete" and run.picture_is_damaged():
        asset = replace(asset, problem=f"{run.facing_png} {DAMAGED}")
    fit = _stage(run, FIT.folder, "reconstruct", {}, holder)
    if asset.state == "complete" and not asset.problem:  # the asset is whole, whatever became of the fit
        asset = replace(asset, problem=fit.problem)
    if fit.state == "not begun" or (asset.state == "complete" and fit.state != "complete"):
        return asset
    if asset.state == "not begun":  # also between the end of the fit and the asset
        asset = replace(asset, state="interrupted" if fit.state == "complete" else fit.state, problem=fit.problem)
    return replace(fit, folder=asset.folder, state=asset.state, problem=asset.problem, bytes=asset.bytes + fit.bytes)


def _stage(run: RunDir, name: str, command: str, hashes: Mapping[str, str], holder: Holder | None) -> StageStatus:
    """A stage with steps and checkpoints."""
    folder = run.path / name
    status = StageStatus(command=command, folder=name, state="not begun", bytes=_size(folder))
    try:
        config, complete = read_json(folder / "config.json"), read_json(folder / "complete.json")
    except CorruptCheckpoint as error:
        return replace(status, state="damaged", problem=error.what)
    if config is None:
        return status
    logged, kept = _last_step(folder / "metrics.jsonl"), run.stage(name).last_checkpoint()
    status = replace(
        status,
        steps=config.get("settings", {}).get("steps"),
        changed=config.get("changed"),
        read=config.get("inputs", {}),
        seconds=_seconds(folder),
    )
    if holder is not None and holder.command == command:
        return replace(status, state="running", step=logged)
    if complete is None:
        return replace(status, state="interrupted", step=kept)
    done = complete.get("steps")
    status = replace(status, state="complete", step=done, steps=done, seconds=complete.get("seconds"))
    result = run.stage(name).result_path(BY_FOLDER[name].result)
    if not result.exists():
        return replace(status, state="damaged", problem=f"{result} is not there.")
    bad = damaged(folder, complete)
    results = [name for name in bad if name.endswith(RESULT)]
    if results:
        return replace(status, state="damaged", problem=f"{folder / results[0]} {DAMAGED}")
    old = [key for key, value in (status.read or {}).items() if hashes.get(key, value) != value]
    if old:
        return replace(status, state="outdated", problem=f"made from another {' and '.join(old)}")
    return replace(status, problem=f"{folder / bad[0]} {DAMAGED}") if bad else status


def _next(path: Path, stages: list[StageStatus]) -> str:
    """What to type: go on with what was interrupted, else the first stage that is missing, else a video; while a
    command is running, what shows it."""
    at = {stage.folder: stage for stage in stages}
    where = "" if path == resolve_run_path(None) else f" --run {shlex.quote(str(path))}"
    if any(stage.state == "running" for stage in stages):
        return f"animus3d view{where}" if at["asset"].state == "complete" else ""
    asset = at["asset"]
    if asset.state != "complete":
        file = shlex.quote((asset.read or {}).get("file", "")) if asset.read else "FILE"
        again = " --force" if asset.state == "damaged" and not asset.problem.endswith(f"{PLY} {DAMAGED}") else ""
        return f"animus3d reconstruct {file}{_typed(asset.changed or {})}{where}{again}"
    for name in MADE_BY:
        stage = at[name]
        if stage.state in ("interrupted", "outdated", "damaged"):
            mended = stage.state == "interrupted" or f"{RESULT} {DAMAGED}" in stage.problem  # by the same command
            again = "" if mended else " --force"
            return f"animus3d {stage.command}{_typed(stage.changed or {})}{where}{again}"
    if at["motion"].state == "not begun":
        bones = " --motion skeleton" if at["rig"].state == "complete" else ""
        return f'animus3d distill{bones} --prompt "a walking goat"{where}'
    return f"animus3d render{where} out.mp4"


def _typed(changed: Mapping[str, Any]) -> str:
    """Settings as they would be typed."""
    words = []
    for name, value in changed.items():
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        text = text.lower() if isinstance(value, bool) else text
        words.append(f"--{name} {shlex.quote(text)}" if name in FLAGS else f"--set {shlex.quote(f'{name}={text}')}")
    return "".join(f" {word}" for word in words)


def _last_step(metrics: Path) -> int:
    """The step of the last whole line of ``metrics.jsonl``, which may be being written; 0 without one."""
    try:
        with metrics.open("rb") as file:
            file.seek(max(0, metrics.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return 0
    for line in reversed(lines):
        try:
            return int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return 0


def _seconds(folder: Path) -> float | None:
    """From the moment the stage was begun, or gone on with, to its last metrics."""
    try:
        return round(max(0.0, (folder / "metrics.jsonl").stat().st_mtime - (folder / "config.json").stat().st_mtime), 1)
    except OSError:
        return None


def _count(ply: Path) -> int | None:
    """How many Gaussians a ``.ply`` declares; None when it is not there or not one."""
    try:
        with ply.open("rb") as file:
            head = file.read(1024).split(b"element vertex ", 1)
        return int(head[1].split(None, 1)[0])
    except (OSError, IndexError, ValueError):
        return None


def _facing(run: RunDir) -> str:
    """Where the asset faces, in words."""
    kept = run.kept_facing()
    if kept is None:
        return ""
    return kept.words if kept.confidence is None else f"{kept.words} ({100.0 * kept.confidence:.0f} % sure)"


def _size(path: Path) -> int:
    """Bytes of all files below ``path``; those that vanish meanwhile do not count."""

    def sizes() -> Iterator[int]:
        for file in path.rglob("*"):
            try:
                if file.is_file():
                    yield file.stat().st_size
            except OSError:
                continue

    return sum(sizes())
