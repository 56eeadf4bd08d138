"""kill -9 of a batch: of its driver, of a worker, of both at once, or of Ray's head, at a random moment.

Then the same command again, until it ends by itself; every file of the results must be the same as without, to the
byte, times aside. Ray's head is tried where Ray is installed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tests.batch.small import begin, finished, line, results, workers_of, write_inputs, write_jobs
from tests.campaigns.journal import Answer, Journal, summary
from tests.campaigns.tried import differences

COUNT = 12
JOBS = 8
WAYS = ("driver", "worker", "both", *(["ray head"] if importlib.util.find_spec("ray") else []))
"""What is killed."""
TOO_LATE = "it was not killed"


class Kills:
    """A table of small jobs, and what an undisturbed batch makes of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_inputs(folder)
        names = [("a.ply", "walk"), ("b.ply", "jump")]
        write_jobs(folder, [line(folder, *names[at % 2], seed=at, steps=6, name=f"job{at}") for at in range(JOBS)])
        process = begin("batch", "jobs.csv", "--workers", 2, "--out", "whole", cwd=folder)
        _wait_for_a_job(process, folder / "whole")
        began = time.monotonic()
        _, err = process.communicate()
        if process.returncode:
            raise RuntimeError(f"exit code {process.returncode}: {err}")
        self.seconds = time.monotonic() - began  # from the first job on
        self.expected = results(folder / "whole")

    def one(self, way: str, rng: np.random.Generator) -> Answer:
        """One try; it begins anew, and kills sooner, where the batch was quicker than expected."""
        share = 0.8 * float(rng.random())
        for sooner in (1.0, 0.6, 0.3):
            answer = self._once(way, sooner * share * self.seconds)
            if answer["why"] != [TOO_LATE]:
                break
        return answer

    def _once(self, way: str, after: float) -> Answer:
        """A batch that is killed ``after`` seconds of its first job's start, and its end."""
        tried = self.folder / "try"
        shutil.rmtree(tried, ignore_errors=True)
        engine = ("--engine", "ray") if way == "ray head" else ()
        command = ("batch", "jobs.csv", "--workers", 2, "--out", "try", *engine)
        process = begin(*command, cwd=self.folder)
        _wait_for_a_job(process, tried)
        time.sleep(after)
        killed = _kill(process, way)
        process.communicate(timeout=600)
        done = len(list(tried.glob("jobs/*/complete.json")))
        if process.returncode:  # else the batch itself has replaced what was killed
            finished(*command, cwd=self.folder)
        why = differences(self.expected, results(tried))
        if not killed:
            why = [TOO_LATE]
        return {"well": not why, "way": way, "after_s": round(after, 2), "done_then": done, "why": why[:5]}


def _wait_for_a_job(process: subprocess.Popen[str], results: Path) -> None:
    """Until the first job has begun, or the batch has ended."""
    while process.poll() is None and not list(results.glob("jobs/*/job.json")):
        time.sleep(0.05)


def _kill(process: subprocess.Popen[str], way: str) -> bool:
    """Kill what ``way`` says; whether there was something to kill."""
    if process.poll() is not None:
        return False
    if way == "both":
        os.killpg(process.pid, signal.SIGKILL)
        return True
    if way == "driver":
        process.kill()
        return True
    driver = psutil.Process(process.pid)
    if way == "worker":
        found = workers_of(driver)
    else:
        found = [one for one in driver.children(recursive=True) if "gcs_server" in one.name()]
    for one in found[:1]:
        one.kill()
    return bool(found)


def run(journal: Journal, count: int, seed: int) -> dict[str, Any]:
    """``count`` tries over ``WAYS`` in turn."""
    answers = {}
    with tempfile.TemporaryDirectory() as folder:
        kills: Kills | None = None
        for number in range(count):
            way = WAYS[number % len(WAYS)]
            key = f"{number} {way}"
            if key not in journal.known:
                kills = kills or Kills(Path(folder))
                rng, made = np.random.default_rng([seed, number]), kills
                answers[key] = journal.answer(key, lambda way=way, rng=rng, made=made: made.one(way, rng))  # type: ignore[misc]
            else:
                answers[key] = journal.known[key]
    return {**summary(answers), "jobs": JOBS, "ways": list(WAYS)}
