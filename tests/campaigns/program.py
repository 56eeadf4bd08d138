"""The program under test: commands run by a server (see there), with faults."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.campaigns.faults import Fault, build, compiler, new_control

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int  # negative: the signal
    seconds: float
    out: str
    err: str
    calls: int  # on files of the folder that it worked in
    last: str  # what the fault happened to
    outside: int  # files opened for writing elsewhere
    stray: str  # the first of them

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.code == -9

    @property
    def one_line(self) -> bool:
        """Whether it said what is wrong in one line."""
        return self.err.count("\n") == 1 and "Traceback" not in self.err


class Program:
    """Runs commands; a context, in which a server lives.

    Raises:
        RuntimeError: there is no C compiler, or the library does not compile.
    """

    def __init__(self) -> None:
        if compiler() is None:
            raise RuntimeError("There is no C compiler: calls of the system cannot be counted.")
        self.scratch = Path(tempfile.mkdtemp(prefix="campaign-"))
        environment = {
            **os.environ,
            "LD_PRELOAD": str(build(self.scratch)),
            "FAULTS_CONTROL": str(new_control(self.scratch)),
            "FAULTS_SCRATCH": str(self.scratch),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": str(ROOT),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.campaigns.server"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the server and remove its files."""
        self.process.kill()
        self.process.communicate()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def run(
        self,
        line: str,
        cwd: Path,
        fault: Fault = Fault(),
        *,
        kill_after: float | None = None,
        data_bytes: int | None = None,
    ) -> Ended:
        """``animus3d LINE`` in the folder ``cwd``, whose files the ``fault`` is about."""
        return self.together([line], cwd, fault, kill_after=kill_after, data_bytes=data_bytes)[0]

    def together(
        self,
        lines: Sequence[str],
        cwd: Path,
        fault: Fault = Fault(),
        *,
        delays: Sequence[float] = (),
        kill_after: float | None = None,
        data_bytes: int | None = None,
    ) -> list[Ended]:
        """Several commands at once, each begun after its delay in seconds; the fault is the first's."""
        request: dict[str, Any] = {
            "lines": [line.split() for line in lines],
            "cwd": str(cwd),
            "fault": asdict(fault),
            "delays": list(delays) or [0.0] * len(lines),
            "kill_after": kill_after,
            "data_bytes": data_bytes,
        }
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"The server has ended with {self.process.wait()}.")
        return [Ended(**one) for one in json.loads(answer)]

    def must(self, line: str, cwd: Path) -> Ended:
        """Run a command that has to succeed. Raises ``RuntimeError``."""
        ended = self.run(line, cwd)
        if ended.code:
            raise RuntimeError(f"animus3d {line}: exit code {ended.code}: {ended.err}")
        return ended
