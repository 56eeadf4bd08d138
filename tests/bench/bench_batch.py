"""What a batch costs beyond its jobs: 200 small jobs of the default prior on two workers.

``python -m tests.bench.bench_batch [--jobs 200] [--workers 2] [--out FOLDER]``: (wall time x workers) / (seconds inside
tasks), with the start of the workers and without, and seconds a job by stage. Results go to results/batch.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from stages.assets import asset_path
from stages.gaussians.formats.ply import read_ply, write_ply
from stages.gaussians.stand_in import stand_in
from tests.batch.small import begin
from tests.bench.record import finish

ASSETS = ("deer", "bird")
PROMPTS = ("it walks", "it jumps", "it flies", "it runs")
GAUSSIANS = 300


def write_table(folder: Path, count: int) -> None:
    """Shipped splats reduced to ``GAUSSIANS``, and ``count`` jobs of them."""
    for name in ASSETS:
        write_ply(folder / f"{name}.ply", stand_in(read_ply(asset_path("splats", f"{name}.ply")), GAUSSIANS))
    lines = [
        "asset,prompt,seed,steps,distill.match.num_samples,distill.match.sample_steps,render.frames,render.width,render.height"
    ]
    for number in range(count):
        asset = ASSETS[number % len(ASSETS)]
        prompt = PROMPTS[number // len(ASSETS) % len(PROMPTS)]
        lines.append(f"{asset}.ply,{prompt},{number},4,1,6,8,128,128")
    (folder / "jobs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def run(folder: Path, count: int, workers: int) -> dict[str, Any]:
    """One batch, from the command to its end."""
    write_table(folder, count)
    began = time.monotonic()
    process = begin("batch", "jobs.csv", "--out", "results", "--workers", workers, "--json", cwd=folder)
    out, err = process.communicate()
    wall = time.monotonic() - began
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: {err}")
    told = [json.loads(line) for line in out.splitlines()]
    done, last = [one for one in told if one["event"] == "done"], told[-1]
    stages = {name: round(statistics.median(one["stages"][name] for one in done), 2) for name in done[0]["stages"]}
    size = sum(path.stat().st_size for path in (folder / "results" / "jobs").rglob("*") if path.is_file())
    return {
        "jobs": len(done),
        "workers": workers,
        "gaussians": GAUSSIANS,
        "wall_s": round(wall, 1),
        "driver_s": last["seconds"],
        "inside_s": last["inside_s"],
        "overhead": round(wall * workers / last["inside_s"], 4),
        "overhead_without_program_start": round(last["seconds"] * workers / last["inside_s"], 4),
        "seconds_a_job": round(statistics.median(one["seconds"] for one in done), 2),
        "stages_s": stages,
        "bytes_a_job": size // len(done),
    }


def main() -> None:
    """See the file's head."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder), options.jobs, options.workers)
    command = f"python -m tests.bench.bench_batch --jobs {options.jobs} --workers {options.workers}"
    finish("batch", result, command)


if __name__ == "__main__":
    sys.exit(main())
