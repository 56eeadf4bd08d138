"""One stage's folder: its settings, checkpoints, metrics and result.

::

    config.json                                             all settings and inputs: enough to repeat the stage
    checkpoints/step_000400/{state.safetensors,state.json}  written beside, then renamed
    metrics.jsonl                                           one line a logged step
    complete.json                                           what was finished, when, with what and on what
    motion.safetensors | adapter.safetensors                the result, see ``layout``
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.errors import CorruptCheckpoint, NotFinite, SettingsDiffer, first_line
from stages.events import Caution, Report, silent
from stages.files import (
    PART,
    file_hash,
    read_json,
    readable,
    replacing,
    sealed,
    to_disk,
    write_json,
    write_tensors,
    writing,
)
from stages.run_dir.compared import changed, differences, flat
from stages.run_dir.layout import FORMAT, FORMER_NAMES
from stages.run_dir.provenance import made_with
from stages.run_dir.soundness import FILES, check, hashes_of, leave_damaged_checkpoints, result_is_damaged

METRICS = "metrics.jsonl"
KEEP = 2
"""How many checkpoints stay."""


@dataclass(frozen=True)
class Begin:
    """What a stage finds when it begins."""

    done: bool  # complete with these settings and inputs: nothing to do
    resume_step: int = 0  # the last checkpoint's step, 0 from scratch


class StageFolder:
    """The folder of one stage in a run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._started = time.time()

    def begin(
        self,
        *,
        config: Mapping[str, Any],
        inputs: Mapping[str, str],
        total_steps: int,
        force: bool,
        defaults: Mapping[str, Any] | None = None,
        report: Report = silent,
    ) -> Begin:
        """Decide between nothing to do, going on, and starting. The caller holds the run's lock.

        A damaged result is made again, a damaged checkpoint gives way to the one before; ``report`` is told of both.

        ``defaults`` are settings as they are when nothing is asked for: what differs from them is noted in
        ``config.json`` too, for those who read it. A setting that a folder does not know, as it is of an earlier
        version, was as usual there.

        Raises:
            SettingsDiffer: the folder holds this stage with other settings or inputs, or is interrupted beyond
                ``total_steps``, and ``force`` is not set.
            CorruptCheckpoint: all checkpoints are damaged.
        """
        settings = flat(json.loads(json.dumps(config, default=str)))
        usual = None if defaults is None else flat(json.loads(json.dumps(defaults, default=str)))
        wanted: dict[str, Any] = {"format": FORMAT, "settings": settings, "inputs": dict(inputs)}
        present = read_json(self.path / "config.json") if self._has_work() else None
        if present is not None and not force and present.get("format", 1) < FORMAT:
            raise SettingsDiffer(
                f"{self.path} was made by an earlier animus3d, in another format.",
                "Use --force to do it again; it can still be rendered and exported as it is.",
            )
        if present is not None and not force:
            found = differences(present, wanted, usual)
            if found:
                raise SettingsDiffer(
                    f"{self.path} was made with other settings: {'; '.join(found)}.",
                    "Use --force to do it again, or --run NEW --from THIS_RUN to keep both.",
                )
        if force and self.path.exists():
            with writing(self.path):
                shutil.rmtree(self.path)
        complete = read_json(self.path / "complete.json")
        if present is not None and complete is not None and complete.get("steps", 0) >= total_steps:
            if not result_is_damaged(self.path, complete, report):
                return Begin(done=True)
            with writing(self.path):
                (self.path / "complete.json").unlink()
        elif complete is not None and FILES in complete:  # its files will not be as they were any more
            write_json(self.path / "complete.json", {k: v for k, v in complete.items() if k != FILES}, seal=True)
        self._tidy(keep_progress=present is not None)
        leave_damaged_checkpoints([self._checkpoint(step) for step in self._checkpoint_steps()], report)
        resume = self.last_checkpoint()
        if resume > total_steps:
            raise SettingsDiffer(
                f"{self.path} has already reached step {resume}, beyond --steps {total_steps}.",
                f"Use --steps {resume} or more, or --force to start again.",
            )
        write_json(self.path / "config.json", {**wanted, **changed(settings, usual)}, seal=True)
        self._check_metrics(resume, report)
        self._truncate_metrics(resume)
        return Begin(done=False, resume_step=resume)

    def is_complete(self) -> bool:
        """Whether the stage has finished in this folder."""
        return (self.path / "complete.json").exists()

    def steps_finished(self) -> int:
        """The step at which the stage was finished in this folder; 0 when it is not."""
        return int((read_json(self.path / "complete.json") or {}).get("steps", 0))

    def finish(self, steps: int) -> None:
        """Mark the stage complete, and note what made it."""
        settings = (read_json(self.path / "config.json") or {}).get("settings", {})
        record = {
            "steps": steps,
            "seconds": round(time.time() - self._started, 1),
            "finished": time.strftime("%FT%TZ", time.gmtime()),
            "made_with": made_with(settings.get("device", "cpu")),
            FILES: hashes_of(self.path),
        }
        write_json(self.path / "complete.json", record, seal=True)

    def save_checkpoint(self, step: int, tensors: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Write ``checkpoints/step_NNNNNN`` beside, then rename it; the ``KEEP`` latest stay."""
        self._check_finite(tensors, step)
        final = self._checkpoint(step)
        temporary = final.with_name(f".{final.name}.{os.getpid()}.part")
        with writing(final):
            temporary.mkdir(parents=True, exist_ok=True)
            try:
                weights = temporary / "state.safetensors"
                write_tensors(weights, tensors)
                record = {"step": step, "sha256": file_hash(weights), METRICS: self._metrics(), **state}
                (temporary / "state.json").write_text(json.dumps(sealed(record)) + "\n", encoding="utf-8")
                for file in temporary.iterdir():
                    to_disk(file)
                self._metrics_to_disk()  # whoever goes on from the checkpoint keeps the lines before it
                shutil.rmtree(final, ignore_errors=True)
                temporary.replace(final)
                to_disk(final.parent)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        self._prune()

    def load_checkpoint(self, step: int | None = None) -> tuple[int, dict[str, Any], dict[str, Any]]:
        """``(step, tensors, state)`` of a checkpoint, the latest by default.

        Raises:
            CorruptCheckpoint: a file of it is missing, cut short or altered; removing the folder that is named makes
                the same command go on from the checkpoint before.
        """
        step = self._checkpoint_steps()[-1] if step is None else step
        folder = self._checkpoint(step)
        hint = f"Remove {folder} to go on from the checkpoint before, or start again with --force."
        state = read_json(folder / "state.json")
        weights = folder / "state.safetensors"
        if state is None or not weights.exists() or file_hash(weights) != state.get("sha256"):
            raise CorruptCheckpoint(f"The checkpoint {folder} is damaged.", hint)
        return step, _load(weights, hint)[0], state

    def write_result(self, name: str, tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> Path:
        """Write the stage's result (safetensors) in one piece."""
        self._check_finite(tensors)
        path = self.path / name
        with replacing(path) as temporary:
            write_tensors(temporary, tensors, metadata)
        return path

    def read_result(self, name: str) -> tuple[dict[str, Any], dict[str, str]]:
        """``(tensors, metadata)`` of a result. Raises ``CorruptCheckpoint`` when it cannot be read or is not what was
        written."""
        check(self.result_path(name))
        return _load(self.result_path(name), "Make it again with --force.")

    def result_path(self, name: str) -> Path:
        """Where the result called ``name`` is; in a run of format 1 it may have had another name."""
        path = self.path / name
        former = self.path / FORMER_NAMES.get(name, name)
        return former if former.exists() and not path.exists() else path

    def result_hash(self, name: str) -> str:
        """Short hash of a result's content. Raises ``CorruptCheckpoint`` when it is not there."""
        try:
            return file_hash(self.result_path(name))
        except OSError as error:
            raise CorruptCheckpoint(
                f"{self.path / name} cannot be read: {first_line(error)}.", f"Make it again: remove {self.path}."
            ) from None

    def log_metrics(self, step: int, **scalars: float) -> None:
        """Append one line to ``metrics.jsonl``. Raises ``NotFinite``."""
        for name, value in scalars.items():
            if not math.isfinite(value):
                raise self._not_finite(name, step)
        path = self.path / METRICS
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **scalars}) + "\n")

    def _metrics_to_disk(self) -> None:
        """What ``log_metrics`` has appended, on the disk."""
        if (self.path / METRICS).exists():
            to_disk(self.path / METRICS)
            to_disk(self.path)

    def _check_finite(self, tensors: Mapping[str, Any], step: int | None = None) -> None:
        """Raise ``NotFinite`` about the first tensor that holds a NaN or an infinity."""
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise self._not_finite(name, step)

    def _not_finite(self, name: str, step: int | None) -> NotFinite:
        kept = self.last_checkpoint()
        when = "in the result" if step is None else f"after step {step}"
        stays = f"the checkpoint of step {kept} stays" if kept else "there is no checkpoint yet"
        settings = (read_json(self.path / "config.json") or {}).get("settings", {})
        smaller = "".join(f" --set {setting}=..." for setting in settings if setting.endswith("_rate"))
        return NotFinite(
            f"{self.path.name}: {name} is NaN or infinite {when}; {stays}.",
            f"Try smaller steps: --force{smaller}, or another --seed."
            if smaller
            else "Try again with --force and another --seed.",
        )

    def last_checkpoint(self) -> int:
        """The step of the latest checkpoint; 0 when there is none."""
        return max(self._checkpoint_steps(), default=0)

    def _checkpoint_steps(self) -> list[int]:
        names = (p.name for p in (self.path / "checkpoints").glob("step_*"))
        return sorted(int(name[len("step_") :]) for name in names if re.fullmatch(r"step_\d+", name))

    def _checkpoint(self, step: int) -> Path:
        return self.path / "checkpoints" / f"step_{step:06d}"

    def _prune(self) -> None:
        """Remove all checkpoints but the ``KEEP`` latest."""
        for old in self._checkpoint_steps()[:-KEEP]:
            shutil.rmtree(self._checkpoint(old), ignore_errors=True)

    def _has_work(self) -> bool:
        """Whether there is more than the settings of a try that failed before its first step."""
        return any(path.name != "config.json" for path in self.path.glob("*"))

    def _tidy(self, *, keep_progress: bool) -> None:
        """Remove what a killed process left half-written and, where its settings are unknown, progress too."""
        with writing(self.path):
            for leftover in (*self.path.glob(f".*{PART}*"), *self.path.glob(f"checkpoints/.*{PART}*")):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
            self._prune()  # a process may have been killed before it did
            if not keep_progress:
                shutil.rmtree(self.path / "checkpoints", ignore_errors=True)
                (self.path / "complete.json").unlink(missing_ok=True)

    def _metrics(self, length: int | None = None) -> list[int | str]:
        """The length of ``metrics.jsonl``, or of its first ``length`` bytes, and their short hash."""
        try:
            content = (self.path / METRICS).read_bytes()[:length]
        except OSError:
            content = b""
        return [len(content), hashlib.sha256(content).hexdigest()[:16]]

    def _check_metrics(self, step: int, report: Report) -> None:
        """Tell where lines are not those of which the checkpoint of ``step`` knows: what is lost is a curve."""
        kept = (read_json(self._checkpoint(step) / "state.json") or {}).get(METRICS)
        if kept is not None and self._metrics(kept[0]) != kept:
            report(Caution(f"{self.path / METRICS} is damaged: what it told of the steps before may be wrong."))

    def _truncate_metrics(self, step: int) -> None:
        """Drop lines after ``step``: they will be written again."""
        path = self.path / METRICS
        if not path.exists():
            return
        kept = []
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError, RecursionError):
                continue  # the last line of a killed process, or damaged
        with replacing(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")


def _load(path: Path, hint: str) -> tuple[dict[str, Any], dict[str, str]]:
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load

    try:
        if readable(str(path)) != str(path):  # the library opens no file whose name is no UTF-8
            data = path.read_bytes()
            return load(data), json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            if os.name == "nt":  # a file that tensors are mapped from cannot be replaced or removed there
                tensors = {key: tensor.clone() for key, tensor in tensors.items()}
            return tensors, file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise CorruptCheckpoint(f"{path} cannot be read: {first_line(error)}.", hint) from None
