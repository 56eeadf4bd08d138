"""A batch small enough for tests: real assets of few Gaussians, a tiny real prior, few steps."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from stages.gaussians.formats.ply import write_ply
from tests.campaigns.tried import contents
from tests.gaussians.test_ply import splat
from tests.priors.points.tiny import save_tiny

ROOT = Path(__file__).parent.parent.parent
HEADS = "asset,prompt,seed,prior,steps,distill.checkpoint_every,render.frames,render.width,render.height,name"


def write_inputs(folder: Path, assets: Sequence[str] = ("a", "b"), count: int = 80) -> None:
    """Splats of ``count`` Gaussians called by ``assets``, and a tiny prior."""
    for number, name in enumerate(assets):
        asset = splat(number, count=count)
        write_ply(folder / f"{name}.ply", replace(asset, log_scales=asset.log_scales - 3.0))
    save_tiny(folder / "prior")


def line(folder: Path, asset: str, prompt: str = "walk", seed: int = 0, steps: int = 4, name: str = "") -> str:
    """A line below ``HEADS``."""
    return f"{asset},{prompt},{seed},{folder / 'prior'},{steps},2,3,32,32,{name}"


def write_jobs(folder: Path, lines: Sequence[str]) -> Path:
    """The table of ``lines``."""
    path = folder / "jobs.csv"
    path.write_text("\n".join([HEADS, *lines]) + "\n", encoding="utf-8")
    return path


def results(folder: Path) -> dict[str, bytes]:
    """What is in the folder of a batch, but for times, for what submitit keeps, and for the commit: files that change
    while tests run make that another one."""
    found = {name: data for name, data in contents(folder).items() if not name.startswith("slurm/")}
    return {name: re.sub(rb'"commit": [^,}]*', b"", data) for name, data in found.items()}


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """The workers of a driver, or of this process: what its fork server has forked."""
    alive = [child for child in process.children() if child.status() != psutil.STATUS_ZOMBIE]
    servers = [child for child in alive if "multiprocessing.forkserver" in " ".join(child.cmdline())]
    return [worker for server in servers for worker in server.children() if worker.status() != psutil.STATUS_ZOMBIE]


def begin(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    """``animus3d ARGUMENTS`` in a process of its own, and in a group of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "animus3d_cli", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(*arguments: object, cwd: Path, code: int = 0) -> tuple[str, str]:
    """What ``animus3d ARGUMENTS`` printed; fails unless it ends with ``code``."""
    process = begin(*arguments, cwd=cwd)
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, f"exit code {process.returncode}, not {code}: {out}{err}"
    return out, err
