"""gsplat that is broken on a machine with a card: the CPU draws in its place, and the cause is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DRAWS = """
import torch
torch.cuda.is_available = lambda: True
from stages.errors import NotAvailable
from stages.raster import choose, cpu
try:
    choose("cuda", "gsplat")
except NotAvailable as error:
    print("asked for:", error)
told = []
assert choose("cuda", None, told.append) is cpu.rasterize
print("caution:", *[event.text for event in told])
"""
RUNS = """
import torch
from stages.errors import NotAvailable
from stages.raster import gsplat_cuda
gsplat_cuda.load_kernels()
try:
    gsplat_cuda.try_out(torch.device("cpu"))
except NotAvailable as error:
    print("tried:", error)
"""
NO_LIBRARY = "raise ImportError('libcudart.so.12: cannot open shared object file')"
RASTERIZATION = "def rasterization(*args, **options):\n    raise RuntimeError('CUDA error: no kernel image\\nmore')\n"


def run(folder: Path, files: dict[str, str], code: str) -> str:
    """What ``code`` prints where a package gsplat of ``files`` comes first."""
    for name, text in files.items():
        file = folder / "gsplat" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("files", "cause"),
    [
        ({"__init__.py": NO_LIBRARY}, "libcudart.so.12: cannot open shared object file"),
        (
            {"__init__.py": RASTERIZATION, "cuda/__init__.py": "", "cuda/_backend.py": "_C = None"},
            "no CUDA toolkit (nvcc) to compile them with",
        ),
        (
            {
                "__init__.py": RASTERIZATION,
                "cuda/__init__.py": "",
                "cuda/_backend.py": "raise RuntimeError('Error building extension: ninja\\nlines of the compiler')",
            },
            "Error building extension: ninja",
        ),
    ],
    ids=["a library is not there", "no nvcc", "the compiler fails"],
)
def test_the_cpu_draws_where_gsplat_cannot(tmp_path: Path, files: dict[str, str], cause: str) -> None:
    """Whoever asked for gsplat is refused with what to do; whoever did not is told and served."""
    refused, caution = run(tmp_path, files, DRAWS).splitlines()
    assert refused.startswith("asked for:") and cause in refused and "--raster cpu" in refused
    assert caution.startswith("caution:") and cause in caution and "animus3d doctor" in caution


def test_kernels_for_other_cards_are_found_out_before_the_work_begins(tmp_path: Path) -> None:
    files = {"__init__.py": RASTERIZATION, "cuda/__init__.py": "", "cuda/_backend.py": "_C = object()"}
    [said] = run(tmp_path, files, RUNS).splitlines()
    assert "do not run on this card: CUDA error: no kernel image." in said and "--raster cpu" in said
