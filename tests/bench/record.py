"""Where a benchmark's numbers go: a file that says on what machine, commit and command they were made, and one line."""

from __future__ import annotations

import csv
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import torch

from tests.bench.gpu.commit import commit

RESULTS = Path(__file__).parent / "results"


def finish(name: str, result: dict[str, Any], command: str | None = None) -> None:
    """Write ``results/NAME.json`` and print ``result`` as the last line; ``command`` None: ``make bench-NAME``."""
    record = {**result, "provenance": provenance(command or f"make bench-{name}")}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(result), flush=True)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Many single results as CSV, a column a name: what is no plain text as JSON, where there is no value nothing."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            given = {name: value for name, value in row.items() if value is not None}
            writer.writerow(
                {name: v if isinstance(v, str) and _value(v) is v else json.dumps(v) for name, v in given.items()}
            )


def read_rows(path: Path) -> list[dict[str, Any]]:
    """What ``write_rows`` wrote; nothing where there is no such file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: _value(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]


def _value(cell: Any) -> Any:
    try:
        return json.loads(cell)
    except (TypeError, ValueError):
        return cell


def provenance(command: str) -> dict[str, Any]:
    """Machine, commit and command."""
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "command": command,
        "commit": commit(),
        "processor": processor,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_1min": round(os.getloadavg()[0], 2),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "date": time.strftime("%F"),
    }
