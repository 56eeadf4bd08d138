"""Run a command of the program in this process: what it printed, and that it ended as it should."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
from dataclasses import dataclass

from animus3d_cli import main as program


@dataclass(frozen=True)
class Printed:
    """What a command printed."""

    stdout: str
    stderr: str


def animus3d(*arguments: object, code: int = 0) -> Printed:
    """``animus3d ARGUMENTS``; fails unless it ends with exit code ``code``."""
    out, err, ended = io.StringIO(), io.StringIO(), 0
    argv, handler = sys.argv, signal.getsignal(signal.SIGTERM)
    sys.argv = ["animus3d", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                program.main()
            except SystemExit as exit_:
                ended = int(exit_.code or 0)
    finally:
        sys.argv = argv
        signal.signal(signal.SIGTERM, handler)
    printed = Printed(out.getvalue(), err.getvalue())
    assert ended == code, f"exit code {ended}, not {code}: {printed.stdout}{printed.stderr}"
    return printed
