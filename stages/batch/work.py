"""What a worker does with one task: an asset that jobs share, or a job that begins from it.

The stages are those that the commands run, in run directories as any other; what is there already is not done again.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from stages import distill, fit_lora, reconstruct, reconstruct_photos, refine, render, rig
from stages.batch.settings import JobSettings, settings_of
from stages.captures import is_capture
from stages.errors import AnimusError, RunLocked, first_line
from stages.events import silent
from stages.files import write_json
from stages.jobs.engines.engine import Outcome, Task
from stages.jobs.folder import COMPLETE, BatchFolder, claim
from stages.jobs.job import Job
from stages.jobs.storage import fetch, publish
from stages.jobs.table import is_url
from stages.priors.load import keep_priors
from stages.run_dir import RunDir


class Clock:
    """Which stage is under way, and the seconds that each has taken."""

    def __init__(self) -> None:
        self.stage = ""
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Within the block ``stage`` is under way."""
        self.stage, began = stage, time.monotonic()
        yield
        self.seconds[stage] = round(time.monotonic() - began, 2)


def asset_task(name: str, job: Job, where: dict[str, Any]) -> Task:
    """The task of making the asset called ``name``, as ``job`` wants it."""
    return {"id": f"assets/{name}", "kind": "asset", "name": name, "job": job.as_json(), **where}


def job_task(job: Job, asset: str, where: dict[str, Any]) -> Task:
    """The task of doing a job that begins from ``asset``."""
    return {"id": f"jobs/{job.name}", "kind": "job", "name": job.name, "asset": asset, "job": job.as_json(), **where}


def do(task: Task) -> Outcome:
    """Do a task, see ``stages.jobs.engines.engine``. Raises nothing but interruptions."""
    began, clock = time.monotonic(), Clock()
    keep_priors()
    try:
        job = Job.of_json(task["job"])
        settings = settings_of(job.settings).saying(job.prompt).on(device_of(task["device"]), task["raster"])
        folder = BatchFolder(Path(task["results"]))
        if task["kind"] == "asset":
            _make_asset(folder.asset_of(task["name"]), job, settings, clock)
        else:
            run = folder.run_of(task["name"])
            _do_job(run, folder.asset_of(task["asset"]), job, settings, clock)
            if task["publish"] is not None:
                with clock.of("publish"):
                    publish(run, f"{task['publish']}/{job.name}")
    except RunLocked as error:
        return {"state": "busy", "what": error.what, "hint": error.hint}
    except AnimusError as error:
        return _failed(clock.stage, error.exit_code, error.what, error.hint)
    except Exception as error:
        return _failed(clock.stage, 1, f"unexpected {type(error).__name__}: {first_line(error)}.", "") | {
            "traceback": traceback.format_exc()
        }
    return {"state": "done", "seconds": round(time.monotonic() - began, 3), "stages": clock.seconds}


def device_of(name: str) -> str:
    """The device of this worker: "auto" is a card where there is one."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def _failed(stage: str, code: int, what: str, hint: str) -> Outcome:
    return {"state": "failed", "stage": stage, "what": what, "hint": hint, "code": code}


def _make_asset(path: Path, job: Job, settings: JobSettings, clock: Clock) -> None:
    """``reconstruct``, and ``rig`` and ``fit-lora`` where the jobs need them."""
    run = RunDir(path)
    with run.lock("batch"):
        if (path / COMPLETE).exists():
            return
        file = Path(job.file)
        if is_url(job.file):
            with clock.of("fetch"):
                file = fetch(job.file, path.parent.parent / "inputs")
        with clock.of("reconstruct"):
            if is_capture(file):
                reconstruct_photos.run(run, settings.photos, silent, file=file)
            else:
                reconstruct.run(run, settings.reconstruct, silent, file=file)
        if settings.rigged:
            with clock.of("rig"):
                rig.run(run, settings.rig, silent)
        if settings.compares:
            with clock.of("fit-lora"):
                fit_lora.run(run, settings.lora, silent)
        _complete(path, clock)


def _do_job(path: Path, asset: Path, job: Job, settings: JobSettings, clock: Clock) -> None:
    """``distill``, ``refine`` where it is asked for, and ``render``."""
    run = RunDir(path)
    with run.lock("batch"):
        claim(path, job.identity)
        if (path / COMPLETE).exists():
            return
        run.copy_from(RunDir(asset), before="distill")
        with clock.of("distill"):
            distill.run(run, settings.distill, silent)
        if settings.refined:
            with clock.of("refine"):
                refine.run(run, settings.refine, silent)
        if settings.video != "none":
            with clock.of("render"):
                source = "refined" if settings.refined else "motion"
                render.run(run, settings.render, silent, out=path / "renders" / f"{source}.{settings.video}")
        _complete(path, clock)


def _complete(path: Path, clock: Clock) -> None:
    """Mark a run as done: the last that is written."""
    stages = {name: {"seconds": seconds} for name, seconds in clock.seconds.items()}
    finished = time.strftime("%FT%TZ", time.gmtime())
    write_json(
        path / COMPLETE, {"seconds": round(sum(clock.seconds.values()), 2), "finished": finished, "stages": stages}
    )
