"""The same commands in odd surroundings: clock, time zone, locale, terminal, home, umask and names of folders.

Each surrounding is a process of its own, in which a splat is read, moved, filmed, exported and measured. It must end
well, and every file must be the same as in the usual surroundings, to the byte, times aside.
"""

from __future__ import annotations

import glob
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.campaigns.faults import Fault, build, compiler
from tests.campaigns.journal import Answer, Journal, summary
from tests.campaigns.program import ROOT, Program
from tests.campaigns.tried import DISTILL, SPLAT, STAGES, contents, copy, differences, make_inputs

COUNT = None
LINES = (
    SPLAT,
    DISTILL,
    STAGES["render"].line,
    STAGES["export a page"].line,
    STAGES["export splats"].line,
    STAGES["eval"].line,
)
CODE = """
import json, os, sys
mask, lines = int(sys.argv[1]), json.loads(sys.argv[2])
os.umask(mask)
from animus3d_cli.main import main
for line in lines:
    sys.argv = ["animus3d", *line.split()]
    main()
"""
JUMPS = "clock that jumps by years with every look"
UTF8_OFF = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@dataclass(frozen=True)
class Surrounding:
    """What is odd."""

    environment: dict[str, str | None] = field(default_factory=dict)  # None: not set
    folder: str = "try"  # in which all is done
    umask: int = 0o022


def fake_clock(said: str, library: Path) -> dict[str, str | None]:
    """The environment in which libfaketime answers for the clock; ``library``: ``faults.c``, compiled."""
    return {
        "LD_PRELOAD": f"{library} {faketime()}",
        "FAKETIME": said,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
    }


def faketime() -> str | None:
    """Where libfaketime is; None: it is not installed, or there is no compiler for what it needs beside it."""
    found = sorted(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1"))
    return found[0] if found and compiler() is not None else None


SURROUNDINGS: dict[str, Surrounding] = {
    "clock years back": Surrounding({"FAKETIME": "-30y"}),
    "clock years ahead": Surrounding({"FAKETIME": "+30y"}),
    "clock a hundred times as fast": Surrounding({"FAKETIME": "+0 x100"}),
    "time zone": Surrounding({"TZ": "Pacific/Chatham"}),
    "locale C": Surrounding({"LC_ALL": "C", "LANG": "C"}),
    "a locale that is not there": Surrounding({"LC_ALL": "tr_TR.UTF-8"}),
    "ASCII terminal": Surrounding({"LC_ALL": "C", "PYTHONIOENCODING": "ascii", **UTF8_OFF, "TERM": "dumb"}),
    "no HOME": Surrounding({"HOME": None, "XDG_CACHE_HOME": None}),
    "HOME that is not there": Surrounding({"HOME": "/does/not/exist"}),
    "HOME that nobody can write": Surrounding({"HOME": "/proc"}),
    "umask 077": Surrounding(umask=0o077),
    "a space": Surrounding(folder="a folder"),
    "an emoji": Surrounding(folder="🦊 füchse"),
    "200 characters": Surrounding(folder="n" * 200),
    "a quote and a percent sign": Surrounding(folder="it's 100 %s"),
    "everything odd": Surrounding(
        {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", **UTF8_OFF, "TZ": "Asia/Kathmandu", "HOME": None},
        folder="🦊 it's " + "n" * 180,
        umask=0o077,
    ),
}


class Elsewhere:
    """The campaign's tools."""

    def __init__(self, folder: Path, lines: tuple[str, ...] = LINES) -> None:
        self.folder, self.lines = folder, lines
        self.inputs = folder / "inputs"
        self.inputs.mkdir(parents=True)
        make_inputs(self.inputs)
        self.known: dict[str, bytes] = {}

    def usual(self) -> dict[str, bytes]:
        """The files in the usual surroundings."""
        if not self.known:
            place, done = self.run(Surrounding())
            if done.returncode:
                raise RuntimeError(done.stderr)
            self.known = contents(place)
        return self.known

    def run(self, odd: Surrounding) -> tuple[Path, subprocess.CompletedProcess[str]]:
        """Run the commands there: the place, and how they ended."""
        place, home = self.folder / odd.folder, self.folder / "home"
        copy(self.inputs, place)
        home.mkdir(exist_ok=True)
        environment: dict[str, str | None] = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        environment |= {"PYTHONPATH": str(ROOT), "HOME": str(home), **odd.environment}
        if "FAKETIME" in odd.environment:
            environment |= fake_clock(str(odd.environment["FAKETIME"]), build(self.folder))
        line = [sys.executable, "-W", "ignore", "-c", CODE, str(odd.umask), json.dumps(self.lines)]
        done = subprocess.run(
            line,
            cwd=place,
            env={name: value for name, value in environment.items() if value is not None},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        return place, done

    def one(self, name: str) -> Answer:
        """A surrounding."""
        usual = self.usual()
        place, done = self.run(SURROUNDINGS[name])
        why = differences(usual, contents(place))
        if done.returncode:
            why.insert(0, f"exit code {done.returncode}: {done.stderr.strip()[-400:]}")
        return {"well": not why, **({"why": why[:5]} if why else {})}

    def jumping_clock(self) -> Answer:
        """The clock goes years back or ahead with every look at it."""
        usual, place = self.usual(), self.folder / "jumps"
        copy(self.inputs, place)
        with Program() as program:
            ended = [program.run(line, place, Fault(clock=True)) for line in self.lines]
        why = differences(usual, contents(place))
        why += [f"exit code {one.code}: {one.err.strip()}" for one in ended if one.code]
        return {"well": not why, **({"why": why[:5]} if why else {})}


def run(journal: Journal, count: int | None, seed: int) -> dict[str, Any]:
    """All surroundings, or the first ``count``; those of a clock where libfaketime is installed."""
    names = [name for name, odd in SURROUNDINGS.items() if "FAKETIME" not in odd.environment or faketime() is not None]
    with tempfile.TemporaryDirectory() as folder:
        elsewhere = Elsewhere(Path(folder))
        answers = {name: journal.answer(name, lambda name=name: elsewhere.one(name)) for name in names[:count]}  # type: ignore[misc]
        if compiler() is not None and count is None:
            answers[JUMPS] = journal.answer(JUMPS, elsewhere.jumping_clock)
    return {**summary(answers), "surroundings": list(answers), "commands": list(LINES)}
