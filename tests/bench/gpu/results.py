"""The results of the parts: one file each, written while the part goes, with what made it."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from tests.bench.gpu.commit import commit, is_certain

RESULTS = Path(__file__).parents[1] / "results"


def path_of(part: str, folder: Path) -> Path:
    """Where the result of ``part`` lies."""
    return folder / f"gpu_{part}.json"


def read(part: str, folder: Path) -> dict[str, Any]:
    """The result of ``part``; empty where there is none that can be read."""
    try:
        found = json.loads(path_of(part, folder).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(part: str, folder: Path, result: dict[str, Any]) -> None:
    """Put ``result`` in place at once."""
    folder.mkdir(parents=True, exist_ok=True)
    path = path_of(part, folder)
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(result, indent=1) + "\n")
    os.replace(beside, path)


def is_done(part: str, folder: Path, device: str, tiny: bool) -> bool:
    """Whether the result is there, without an error, of this very commit, and of such a run."""
    found, now = read(part, folder), commit()
    same = (found.get("commit"), found.get("device"), found.get("tiny")) == (now, device, tiny)
    return bool(found.get("done")) and "error" not in found and same and is_certain(now)


def header(device: str, tiny: bool, command: str) -> dict[str, Any]:
    """What made a result; needs no package, and no torch where there is none."""
    made: dict[str, Any] = {
        "done": False,
        "device": device,
        "tiny": tiny,
        "commit": commit(),
        "command": command,
        "date": time.strftime("%F %H:%M:%S"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
    }
    try:
        import torch
    except ImportError:
        return made
    made |= {"torch": torch.__version__, "threads": torch.get_num_threads(), "cuda": torch.version.cuda}
    if device == "cuda" and torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        made |= {"card": card.name, "card_gib": round(card.total_memory / 2**30, 1), "driver": _driver()}
    return made


def _driver() -> str | None:
    """The version of NVIDIA's driver, as its module says; None where it does not."""
    try:
        words = Path("/proc/driver/nvidia/version").read_text().split()
    except OSError:
        return _driver_by_program()
    return next((word for word in words if word.count(".") >= 1 and word.replace(".", "").isdigit()), None)


def _driver_by_program() -> str | None:
    import subprocess

    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return (done.stdout.split() or [None])[0]
