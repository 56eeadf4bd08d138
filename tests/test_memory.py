"""How much memory a container, a limit and the machine leave, and what is said where it is too little."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stages.errors import NotAvailable
from stages.memory import Knob, check_memory, free_bytes

MB, ROOT = 10**6, Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("quota", "used", "stat", "line"),
    [
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        (
            "memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat",
            "total_inactive_file",
        ),
    ],
)  # fmt: skip
def test_what_a_quota_leaves(tmp_path: Path, quota: str, used: str, stat: str, line: str) -> None:
    """Files that give way count as free; a group above that leaves less counts; "max" is none."""
    (tmp_path / quota).parent.mkdir(exist_ok=True)
    (tmp_path / used).write_text(f"{70 * MB}\n")
    (tmp_path / stat).write_text(f"anon {60 * MB}\n{line} {5 * MB}\n")
    (tmp_path / quota).write_text(f"{100 * MB}\n")
    assert free_bytes(tmp_path) == 35 * MB
    (tmp_path / quota).write_text(f"{50 * MB}\n")
    assert free_bytes(tmp_path) == 0
    (tmp_path / quota).write_text("max\n")
    there = free_bytes(tmp_path)
    assert there > 100 * MB


def test_what_a_limit_of_the_process_leaves(tmp_path: Path) -> None:
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom stages.memory import free_bytes\n"
        "before = free_bytes(Path('/none'))\n"
        "status = Path('/proc/self/status').read_text().split('VmData:')[1]\n"
        "most = 1024 * int(status.split()[0]) + 200 * 10**6\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (most, most))\n"
        "left = free_bytes(Path('/none'))\nassert before > left and 180e6 < left < 201e6, (before, left)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_what_is_said(tmp_path: Path) -> None:
    """The largest values that fit, of two digits; what helps where none does; nothing where there is enough."""
    (tmp_path / "memory.max").write_text(f"{100 * MB}")
    (tmp_path / "memory.current").write_text("0")
    gaussians = Knob("--set max_gaussians={}".format, 10_000, lambda count: 50e6 + 14e3 * count, 500)
    frames = Knob("--frames {}".format, 31, lambda count: 6e6 * count, 2)
    with pytest.raises(NotAvailable) as told:
        check_memory("distill", 190e6, [gaussians, frames], root=tmp_path)
    assert str(told.value) == (
        "distill needs about 190 MB of memory, and 100 MB are free. "
        "It fits with --set max_gaussians=3500 or --frames 16."
    )
    assert told.value.exit_code == 9
    large = Knob("--frames {}".format, 4, lambda count: 1e9 * count, 2)
    with pytest.raises(NotAvailable, match=r"needs about 2\.0 GB .* Take less\.$"):
        check_memory("distill", 2e9, [large], least=99e6, smaller="Take less.", root=tmp_path)
    with pytest.raises(NotAvailable, match="Close other programs"):
        check_memory("distill", 2e9, [large], least=101e6, smaller="Take less.", root=tmp_path)
    check_memory("distill", 99e6, [gaussians], root=tmp_path)
