"""Everything that only a card can say, in seven minutes: ``python -m tests.bench.gpu`` (or ``make gpu``).

    python -m tests.bench.gpu [PART...] [--again] [--minutes 7] [--results DIR] [--tiny] [--device cuda]

Runs with the Python and torch that it finds (3.10 to 3.13): no virtual environment, nothing is fetched. Each part is a
process of its own with a time budget, and writes ``results/gpu_PART.json`` while it goes: a crash, a full memory or an
overrun ends that part alone. A part whose result of this commit is there is skipped, so that what seven minutes did not
suffice for is made by the same command again. Without git, say which commit it is: ANIMUS3D_COMMIT=..., or a file
COMMIT.

build      compile gsplat's kernels for this card, once; how long that takes
doctor     what ``animus3d doctor`` finds
kernels    gsplat's kernels against the readable twin: values and gradients
tests      the tests that are marked ``gpu``
published  ModelScope at true size, random weights: seconds, memory, utilisation, the preset's minutes
views      MV-VDM at true size, random weights: seconds of a guided step, memory while four views are sampled
default    ``fit-lora`` and ``distill`` with the default prior and settings, on this device and on its CPU

``--tiny --device cpu`` takes the same paths at tiny size, without a card. Exit code 0 when every part is done, 1 when
one is not, 9 without a card, without torch, or on another Python.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from stages.doctor import PACKAGES
from tests.bench.gpu import results
from tests.bench.gpu.commit import ROOT, commit, is_certain

SECONDS = {"build": 200, "doctor": 40, "kernels": 50, "tests": 70, "published": 130, "views": 60, "default": 100}
"""The parts in their order, and how long each may take."""

BEHIND = ("llvmlite", "accelerate", "jaxtyping")
"""Packages that those of animus3d import (numba, peft, gsplat), and that ``pip --no-deps`` leaves out."""


def main(arguments: list[str] | None = None) -> int:
    """Run the parts that are missing; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(SECONDS)}; default: all")
    parser.add_argument("--again", action="store_true", help="do parts again whose result of this commit is there")
    parser.add_argument("--minutes", type=float, default=7.0, help="of all parts together")
    parser.add_argument("--results", type=Path, default=results.RESULTS, help="where the results go")
    parser.add_argument("--tiny", action="store_true", help="the same paths at tiny size, for the tests")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # in this process: what a child is told
    options = parser.parse_args(arguments)
    unknown = [part for part in options.parts if part not in SECONDS]
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}; choose of {', '.join(SECONDS)}")
    command = " ".join(["python -m tests.bench.gpu", *(sys.argv[1:] if arguments is None else arguments)])
    if options.here:
        from tests.bench.gpu.parts import run_part

        return run_part(options.parts[0], options.results, options.device, options.tiny, command.replace(" --here", ""))
    refusal = refused(options.device)
    if refusal:
        print(refusal, file=sys.stderr)
        return 9
    lacking = missing(options.device)
    if lacking:
        print(f"Missing: {', '.join(lacking)}; parts that need them will fail. {how_to_get(lacking)}", file=sys.stderr)
    return run_all(options)


def refused(device: str) -> str:
    """Why nothing can be run here, in one line; empty where it can."""
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        return f"This needs Python 3.10 to 3.13, not {sys.version.split()[0]}."
    if not is_there("torch"):
        return f"Missing: torch. {how_to_get(['torch'])}"
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            return f"No card: torch {torch.__version__} sees no CUDA device. Without one: --tiny --device cpu."
    return ""


def missing(device: str) -> list[str]:
    """The packages that a part needs and that are not here. On a CPU gsplat is not needed."""
    wanted = [
        name for name in (*PACKAGES, *BEHIND, "pytest") if device == "cuda" or name not in ("gsplat", "jaxtyping")
    ]
    return [name for name in wanted if not is_there(name)]


def is_there(package: str) -> bool:
    """Whether ``package`` is installed; it is not imported."""
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def how_to_get(packages: list[str]) -> str:
    """The line for pip, and what to do without a network: carry wheels."""
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    names = " ".join(packages)
    return (
        f"Get it: pip install -c constraints.txt {names} (no network here? Elsewhere: pip download --no-deps "
        f"--only-binary=:all: --python-version {python} -d wheels {names}; then here: pip install --no-index "
        f"--no-deps wheels/*)"
    )


def run_all(options: argparse.Namespace) -> int:
    """The parts one after the other, each in a process of its own."""
    began, failed = time.monotonic(), []
    name = commit()
    print(f"commit {name}; results in {options.results}", flush=True)
    if not is_certain(name):
        print("The commit is not certain, so no part is skipped (ANIMUS3D_COMMIT=... says which it is).", flush=True)
    for part in [part for part in SECONDS if part in options.parts or not options.parts]:
        elapsed = time.monotonic() - began
        if not options.again and results.is_done(part, options.results, options.device, options.tiny):
            print(f"[{elapsed:4.0f} s] {part}: its result of this commit is there (--again does it anyway)", flush=True)
            continue
        left = 60.0 * options.minutes - elapsed
        if left < 5.0:
            print(f"[{elapsed:4.0f} s] {part}: no time left; the same command goes on here", flush=True)
            failed.append(part)
            continue
        seconds = min(float(SECONDS[part]), left)
        print(f"[{elapsed:4.0f} s] {part}: at most {seconds:.0f} s", flush=True)
        error = run_child(part, options, seconds)
        if error:
            failed.append(part)
            print(f"[{time.monotonic() - began:4.0f} s] {part} failed: {error}", flush=True)
    ended = f"not done: {', '.join(failed)}" if failed else "all parts are done"
    print(f"[{time.monotonic() - began:4.0f} s] {ended}", flush=True)
    return 1 if failed else 0


def run_child(part: str, options: argparse.Namespace, seconds: float) -> str:
    """One part in a process; what went wrong, which its result says too. Empty where all is well."""
    command = [sys.executable, "-m", "tests.bench.gpu", part, "--here", "--device", options.device]
    command += ["--results", str(options.results.resolve()), *["--tiny"] * options.tiny]
    results.path_of(part, options.results).unlink(missing_ok=True)
    error = ""
    child = subprocess.Popen(command, cwd=ROOT, env=environment(), start_new_session=True)
    try:
        code = child.wait(timeout=seconds)
        if code:
            error = f"its process ended with signal {-code}" if code < 0 else f"its process ended with code {code}"
    except subprocess.TimeoutExpired:
        error = f"stopped after {seconds:.0f} s"
    finally:
        end(child)
    found = results.read(part, options.results)
    error = found.get("error") or error or ("" if found.get("done") else "it wrote no result")
    if error and "error" not in found:
        made = found or results.header(options.device, options.tiny, " ".join(command[1:]))
        results.write(part, options.results, made | {"done": False, "error": error})
    return str(error)


def environment() -> dict[str, str]:
    """Of a child: no hub, as many compilers at once as there are processors."""
    given = {"HF_HUB_OFFLINE": "1", "MAX_JOBS": str(os.cpu_count() or 1), "TOKENIZERS_PARALLELISM": "false"}
    return {**given, **os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


def end(child: subprocess.Popen[bytes]) -> None:
    """End the process and what it has started, compilers for example."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


if __name__ == "__main__":
    sys.exit(main())
