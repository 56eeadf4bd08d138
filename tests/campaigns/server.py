"""A process that has everything imported and forks a child for every command: a try costs what the command costs.

It reads requests on its input, a line of JSON each, and answers each with a line. The child runs the program's own
``main`` with its output in files, watched by ``faults.c``.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.campaigns.faults import Control, Fault

SECONDS = 300
"""After which a command that does not end is ended; it counts as a failure."""

NOT_IMPORTED = ("stages.training.build_words", "stages.zoo.samples", "stages.zoo.pack_bodies")


def import_everything() -> None:
    """All of the program, so that no child has to."""
    import animus3d_cli
    import stages

    for package in (stages, animus3d_cli):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if found.name.endswith("__main__") or found.name.startswith(NOT_IMPORTED):
                continue
            try:
                importlib.import_module(found.name)
            except ImportError:  # a package that is not installed here
                continue


def child(line: list[str], cwd: str, out: Path, err: Path, delay: float, data_bytes: int | None) -> None:
    """Run one command and end this process with its exit code. Never returns."""
    code = 1
    try:
        os.setsid()  # what it starts can be ended with it
        for number, path in ((1, out), (2, err)):
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(file, number)
            os.close(file)
        os.chdir(cwd)
        sys.stdin = open(os.devnull)  # noqa: SIM115
        sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w") for number in (1, 2))
        if data_bytes is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_DATA, (data_bytes, data_bytes))
        time.sleep(delay)
        sys.argv = ["animus3d", *line]
        from animus3d_cli.main import main

        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def serve(request: dict[str, Any], control: Control, scratch: Path) -> list[dict[str, Any]]:
    """Run the lines of a request, all at once; what became of each."""
    fault = Fault(**request["fault"])
    started: list[tuple[int, float]] = []
    gates: list[int] = []
    for number, line in enumerate(request["lines"]):
        ready, go = os.pipe()
        pid = os.fork()
        if pid == 0:
            for gate in (*gates, go):  # all wait until their ends are closed
                os.close(gate)
            os.read(ready, 1)
            os.close(ready)
            files = (scratch / f"{number}.out", scratch / f"{number}.err")
            child(line, request["cwd"], *files, request["delays"][number], request["data_bytes"])
        os.close(ready)
        if number == 0:
            control.arm(pid, Path(request["cwd"]), fault)
        started.append((pid, time.monotonic()))
        gates.append(go)
    for gate in gates:
        os.close(gate)
    answers = []
    for number, (pid, since) in enumerate(started):
        code = wait(pid, since, request["kill_after"])
        out, err = ((scratch / f"{number}.{name}") for name in ("out", "err"))
        answers.append(
            {
                "code": code,
                "seconds": round(time.monotonic() - since, 3),
                "out": out.read_text(errors="replace") if out.exists() else "",
                "err": err.read_text(errors="replace") if err.exists() else "",
                **vars(control.read()),
            }
        )
    return answers


def wait(pid: int, since: float, kill_after: float | None) -> int:
    """The exit code of ``pid``, negative for the signal that ended it; after ``kill_after`` seconds that is SIGKILL."""
    limit = SECONDS if kill_after is None else kill_after
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() - since > limit:
            os.kill(pid, signal.SIGKILL)
            limit = float("inf")
        time.sleep(0.001)


def main() -> None:
    """Answer on the first standard output; whatever else is printed goes to the error stream."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.set_inheritable(answers.fileno(), False)
    import_everything()
    import pydantic.type_adapter  # noqa: F401  # imported by what is imported above when it is first used, as plugins are
    import torch
    from PIL import Image

    Image.init()
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # else every child that collects copies all of it
    control, scratch = Control(Path(os.environ["FAULTS_CONTROL"])), Path(os.environ["FAULTS_SCRATCH"])
    for line in sys.stdin:
        print(json.dumps(serve(json.loads(line), control, scratch)), file=answers, flush=True)


if __name__ == "__main__":
    main()
