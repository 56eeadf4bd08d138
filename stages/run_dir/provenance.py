"""What made a result: versions, commit and machine, as ``complete.json`` keeps them for who wants to repeat it."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent


def versions() -> dict[str, str]:
    """The packages that numbers depend on."""
    return {name: _version(name) for name in ("animus3d", "torch", "diffusers", "gsplat")}


def made_with(device: str) -> dict[str, Any]:
    """Versions, commit (None outside a checkout), Python, system, processor, its threads, and the graphics card that
    ``device`` names (None on a CPU)."""
    import torch

    on_card = torch.device(device).type == "cuda" and torch.cuda.is_available()
    card = torch.cuda.get_device_name(device) if on_card else None
    return {
        "versions": versions(),
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": card,
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


@functools.cache
def _commit() -> str | None:
    """The checkout's commit, "-dirty" behind it where files differ from it; None outside a checkout or without git."""
    if not (ROOT / ".git").exists():  # else a repository around the installed package would answer
        return None
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


@functools.cache
def _processor() -> str:
    """The processor's name, where the system tells it, else its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
