"""The parts that ask whether things work: the kernels' compilation, ``doctor``, and the tests marked ``gpu``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.gpu.commit import ROOT
from tests.bench.gpu.parts import Job

TESTS = ROOT / "tests"


def build(job: Job) -> None:
    """Load the rasterizer that the other parts take; on a card this compiles it, where that was not done before."""
    from stages.raster import choose

    began = time.perf_counter()
    choose(job.device, job.backend)
    job.keep(
        {
            "backend": job.backend,
            "seconds": round(time.perf_counter() - began, 1),
            "architectures": os.environ.get("TORCH_CUDA_ARCH_LIST"),
            "max_jobs": os.environ.get("MAX_JOBS"),
        }
    )


def doctor(job: Job) -> None:
    """What ``animus3d doctor`` finds. Only an optional thing may be missing, and on a card that is none of CUDA's.

    Raises:
        RuntimeError: something that a command needs does not work.
    """
    from stages import doctor as looking

    findings, wanting = [], []
    for finding in looking.run():
        findings.append(asdict(finding))
        job.keep({"findings": findings})
        on_card = job.device == "cuda" and finding.name in ("cuda", "raster gsplat")
        if finding.state != "ok":
            print(f"  {finding.name}: {finding.found}. {finding.get_it}", flush=True)
        if not looking.works(finding) or (on_card and finding.state != "ok"):
            wanting.append(finding.name)
    if wanting:
        raise RuntimeError(f"does not work here: {', '.join(wanting)}")


def marked_tests(job: Job) -> None:
    """The tests marked ``gpu``, of those files alone that have some; without a card all of them are skipped.

    Warnings do not fail a test here: other versions of packages than those of ``constraints.txt`` give others.

    Raises:
        RuntimeError: a test failed, on a card none passed, or pytest is missing.
    """
    if find_spec("pytest") is None:
        raise RuntimeError("pytest is not installed: pip install pytest")
    files = marked_files(TESTS)
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-x" if job.tiny else "--maxfail=20"]
        command += ["-o", "filterwarnings=default", "-p", "no:cacheprovider", f"--junitxml={report}", *map(str, files)]
        done = subprocess.run(command, cwd=ROOT, check=False)
        counts, failures = verdict(report)
    job.keep({"files": [str(file.relative_to(ROOT)) for file in files], **counts, "failures": failures})
    if done.returncode not in (0, 5) or failures:  # 5: nothing was selected
        raise RuntimeError(f"pytest ended with code {done.returncode}; {'; '.join(failures) or 'see its output'}")
    if job.device == "cuda" and not counts["passed"]:
        raise RuntimeError("no test marked gpu ran, although there is a card")


def marked_files(folder: Path) -> list[Path]:
    """The test files below ``folder`` that mark a test with ``gpu``."""
    return [path for path in sorted(folder.rglob("test_*.py")) if "pytest.mark.gpu" in path.read_text(encoding="utf-8")]


def verdict(report: Path) -> tuple[dict[str, int], list[str]]:
    """How many tests of a JUnit file passed, failed and were skipped, and the failures, a line each."""
    counts, failures = {"passed": 0, "failed": 0, "skipped": 0}, []
    cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    for case in cases:
        fault = case.find("failure")
        fault = case.find("error") if fault is None else fault
        if fault is not None:
            counts["failed"] += 1
            said = (fault.get("message") or "").strip().splitlines() or [""]
            failures.append(f"{case.get('classname')}::{case.get('name')}: {said[0][:300]}")
        elif case.find("skipped") is not None:
            counts["skipped"] += 1
        else:
            counts["passed"] += 1
    return counts, failures
