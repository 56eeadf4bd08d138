"""What a busy machine costs: a short distill alone and beside two busy loops, ``python -m tests.bench.bench_busy``.

Whole commands are timed, as typed, each twice; ratios are of the faster of the two. "passive" is how the command line
has OpenMP's threads wait (``stages.threads``), "active" lets them spin, as ``OMP_WAIT_POLICY=ACTIVE`` does. A command
is stopped after ``LIMIT_S``; where that was a busy one, its ratio is at least what is said. The last line is JSON.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stages.assets import asset_path
from stages.threads import PASSIVE, choose
from tests.bench.record import finish

ROOT = Path(__file__).parents[2]
LOOPS = 2
REPEATS = 2
LIMIT_S = 150.0
BAR = 3.0
"""Beside the loops a command may take so many times as long as alone."""

POLICIES: dict[str, dict[str, str]] = {"passive": {}, "active": {"OMP_WAIT_POLICY": "ACTIVE"}}
DISTILL = ("distill", "--prompt=a jumping deer", "--preset", "preview", "--steps", "6", "--set", "preview_every=0")


def main() -> None:
    """Time it each way, in turns, so that others on the machine disturb all ways alike."""
    seconds: dict[str, dict[str, list[float]]] = {policy: {"alone": [], "busy": []} for policy in POLICIES}
    with TemporaryDirectory() as folder:
        _animus3d(Path(folder), {}, "reconstruct", str(asset_path("splats", "deer.ply")))
        for repeat in range(REPEATS):
            for policy, variables in POLICIES.items():
                for place, loops in (("alone", 0), ("busy", LOOPS)):
                    with busy(loops):
                        took = _animus3d(Path(folder), variables, *DISTILL, "--force")
                    seconds[policy][place].append(round(took, 1))
                    print(f"{policy:8s} {place:6s} {repeat + 1}/{REPEATS} {took:7.1f} s", flush=True)
    finish("busy", summary(seconds))


def summary(seconds: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """Ratios from ``seconds`` by policy and place; None where the command was stopped alone already."""
    ratio = {
        policy: round(min(took["busy"]) / min(took["alone"]), 2) if min(took["alone"]) < LIMIT_S else None
        for policy, took in seconds.items()
    }
    cut = sorted({p for p, took in seconds.items() for values in took.values() if max(values) >= LIMIT_S})
    return {
        "busy_over_alone": ratio,
        "bar": BAR,
        "meets_bar": ratio["passive"] is not None and ratio["passive"] <= BAR,
        "seconds": seconds,
        "given_up_after_s": LIMIT_S,
        "given_up": cut,
        "threads_of_the_command": choose().count,
        "loops": LOOPS,
    }


@contextmanager
def busy(loops: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Within the block so many processes do nothing but count."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()


def _animus3d(folder: Path, variables: dict[str, str], *words: str) -> float:
    """Seconds that a command takes in its own process, at most ``LIMIT_S``."""
    ours = {name: value for name, value in os.environ.items() if name not in PASSIVE}
    environment = {**ours, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **variables}
    command = [sys.executable, "-m", "animus3d_cli", *words, "--run", "run"]
    began = time.perf_counter()
    try:
        subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return LIMIT_S
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
