"""How many threads are taken, and that nothing but Linux and macOS is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages import threads

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 1),
        ({"cpu.max": "400000 100000\n"}, 4),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_what_a_container_allows(tmp_path: Path, files: dict[str, str], expected: int | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads.container_quota(tmp_path) == expected


def test_the_user_goes_before_the_quota_and_the_quota_before_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "container_quota", lambda: 1)
    assert threads.choose() == threads.Threads(1, "the container's quota")
    monkeypatch.setattr(threads, "container_quota", lambda: None)
    assert (
        threads.choose().count == len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert threads.choose() == threads.Threads(7, "OMP_NUM_THREADS")


def test_it_is_settled_before_torch_is_imported() -> None:
    """And what the user has set is not touched."""
    code = (
        "import os, sys; from stages.threads import settle; settle(); assert 'torch' not in sys.modules\n"
        "import torch; print(torch.get_num_threads(), os.environ['OMP_WAIT_POLICY'], os.environ['GOMP_SPINCOUNT'])"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "9", "PYTHONPATH": str(ROOT)}
    environment.pop("OMP_WAIT_POLICY", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "PASSIVE", "9"]


def test_who_asks_for_spinning_gets_it() -> None:
    """GOMP_SPINCOUNT=0 would go before OMP_WAIT_POLICY=ACTIVE."""
    code = "import os; from stages.threads import settle; settle(); print(os.environ.get('GOMP_SPINCOUNT'))"
    environment = {**os.environ, "OMP_WAIT_POLICY": "ACTIVE", "PYTHONPATH": str(ROOT)}
    environment.pop("GOMP_SPINCOUNT", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None"]


def test_every_module_imports_where_posix_is_missing() -> None:
    """As on Windows: modules that only POSIX systems have are hidden from ours; other packages look for themselves."""
    code = (
        "import builtins, importlib, pkgutil\n"
        "real, hidden = builtins.__import__, ('fcntl', 'resource', 'pwd', 'grp', 'termios', 'tty', 'pty', 'syslog')\n"
        "def guarded(name, globals=None, *rest, **more):\n"
        "    ours = (globals or {}).get('__name__', '').startswith(('stages', 'animus3d_cli'))\n"
        "    if ours and name.partition('.')[0] in hidden: raise ModuleNotFoundError(name)\n"
        "    return real(name, globals, *rest, **more)\n"
        "builtins.__import__ = guarded\n"
        "import animus3d_cli, stages\n"
        "for package in (stages, animus3d_cli):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        if module.name.endswith(('__main__', 'gsplat_cuda')): continue\n"
        "        importlib.import_module(module.name); print(module.name)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "stages.run_dir.lock" in done.stdout.split()
