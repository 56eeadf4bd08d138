"""What the person sees: progress, notes, tables and errors. The only importer of rich."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stages.doctor import Finding
    from stages.errors import AnimusError
    from stages.events import Event, Report
    from stages.status import RunStatus, StageStatus

PLAIN_INTERVAL_S = 5.0
"""Seconds between progress lines where there is no terminal."""

BAR_WIDTH = 20
"""Columns of the live bar."""

STYLES = {
    "complete": "green", "running": "bold cyan", "interrupted": "yellow", "outdated": "yellow", "damaged": "bold red",
    "not begun": "dim", "ok": "green", "missing": "yellow", "broken": "bold red",
}  # fmt: skip
"""Colours of states, on a terminal."""


class Console:
    """Draws a stage's events: a live bar on a terminal, a plain line now and then elsewhere. It is a ``Report``."""

    def __init__(self) -> None:
        from rich.console import Console as RichConsole

        self._out = RichConsole(highlight=False, soft_wrap=True)
        self._bar: Any = None
        self._task: Any = None
        self._name, self._total, self._done = "", 0, 0
        self._began = self._last = 0.0
        self._followers: list[Report] = []

    def follow(self, report: Report) -> None:
        """Pass every event on to ``report`` too."""
        self._followers.append(report)

    def __call__(self, event: Event) -> None:
        from stages.events import Caution, Finished, Note, Progress, Started, Wrote

        for report in self._followers:
            report(event)
        if isinstance(event, Started):
            self._start(event.name, event.total, event.done)
        elif isinstance(event, Progress):
            self._progress(event.step, event.metrics)
        elif isinstance(event, Finished):
            self.close()
            self._out.print(f"{event.name}: done in {_duration(time.monotonic() - self._began)}")
        elif isinstance(event, Note):
            self._out.print(event.text, markup=False)
        elif isinstance(event, Caution):
            self._out.print("warning:", style="bold yellow", end=" ")
            self._out.print(event.text, markup=False)
        elif isinstance(event, Wrote):
            self._out.print(f"  {event.path}  ({event.what})", markup=False)

    def close(self) -> None:
        """End the live bar, if there is one."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _start(self, name: str, total: int, done: int) -> None:
        self.close()
        self._name, self._total, self._done = name, total, done
        self._began, self._last = time.monotonic(), time.monotonic()
        if done:
            self._out.print(f"{name}: going on from step {done}")
        if not self._out.is_terminal:
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=BAR_WIDTH),
            MofNCompleteColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[metrics]}"),
            console=self._out,
        )
        self._task = self._bar.add_task(name, total=total, completed=done, metrics="")
        self._bar.start()

    def _progress(self, step: int, metrics: Mapping[str, float]) -> None:
        shown = [f"{name} {value:.3g}" for name, value in metrics.items()]
        if self._bar is not None:
            taken = len(self._name) + BAR_WIDTH + 2 * len(str(self._total)) + len("  /  eta 0:00:00  ")
            while shown and taken + len("  ".join(shown)) > self._out.width:  # else rich cuts the counters short
                shown.pop()
            self._bar.update(self._task, completed=step, metrics="  ".join(shown))
            return
        text = "  ".join(shown[:3])
        now = time.monotonic()
        if self._out.is_terminal or (now - self._last < PLAIN_INTERVAL_S and step != self._total):
            return
        self._last = now
        per_step = (now - self._began) / max(1, step - self._done)
        left = _duration(per_step * (self._total - step))
        self._out.print(f"{self._name} {step}/{self._total}  eta {left}  {text}".rstrip(), markup=False)

    def metrics(self, results: Sequence[Mapping[str, Any]]) -> None:
        """The screen of ``eval``: one run, or several side by side."""
        from animus3d_cli.metrics_table import heading, metrics_table, remarks

        for line in heading(results):
            self.note(line)
        self._out.print(metrics_table(results))
        for line in remarks(results, self._out.width):
            self.note(line)

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A plain table whose first column is never cut short."""
        from rich.table import Column, Table

        table = Table(Column(heads[0], no_wrap=True), *heads[1:], box=None, padding=(0, 1, 0, 0))
        for row in rows:
            table.add_row(*row)
        self._out.print(table)

    def status(self, status: RunStatus) -> None:
        """The screen of ``status``."""
        from rich.table import Column, Table
        from rich.text import Text

        count = "" if status.num_gaussians is None else f", {status.num_gaussians:,} Gaussians"
        faces = f", faces {status.facing}" if status.facing else ""
        self.note(f"{status.run}: {status.source or 'no asset yet'}{count}{faces}, {_size(status.bytes)}")
        right = ("step", "time", "size")
        heads = ("stage", "state", *right, "changed settings, inputs")
        columns = (Column(h, justify="right" if h in right else "left", no_wrap=h != heads[-1]) for h in heads)
        table = Table(*columns, box=None, padding=(0, 1, 0, 0), header_style="bold")
        for one in status.stages:
            step = "" if one.steps is None else f"{one.step or 0}/{one.steps}"
            took = "" if one.seconds is None else _duration(one.seconds)
            size = _size(one.bytes) if one.bytes else ""
            table.add_row(one.command, Text(one.state, STYLES[one.state]), step, took, size, Text(_details(one)))
        self._out.print(table)
        if status.running is not None:
            self.note(f"{status.running.command} is running (pid {status.running.pid}).")
        if status.next:
            self.note(f"{'See it' if status.running else 'Next'}: {status.next}")

    def doctor(self, findings: Iterable[Finding]) -> None:
        """The screen of ``doctor``, a line as each finding comes."""
        from textwrap import wrap

        from rich.text import Text

        for one in findings:
            lines = wrap(f"{one.name:<16} {one.found}", self._out.width - 8, subsequent_indent=" " * 17)
            if one.state != "ok":
                indent = " " * 17
                why = f"For {one.needed_for}. {one.get_it}"
                lines += wrap(why, self._out.width - 8, initial_indent=indent, subsequent_indent=indent)
            for index, line in enumerate(lines):
                state = one.state if index == 0 else ""
                self._out.print(Text.assemble((f"{state:<8}", STYLES[one.state]), line))

    def orderings(self, found: Iterable[Mapping[str, Any]]) -> None:
        """The last screen of ``ablate``: what the paper claims, and what was seen."""

        def seen(one: Mapping[str, Any]) -> str:
            where = one["metric"].replace("_", " ")
            if one["difference"] is None:
                return where
            return "{}: {:.3g} {:+.3g} [{:+.3g}, {:+.3g}]".format(where, one["full"], *one["difference"])

        rows = [(one["verdict"], one["claim"], seen(one)) for one in found]
        if rows:
            self.table(("verdict", "the paper's claim", "full method, difference, its 95 % interval"), rows)

    def note(self, text: str) -> None:
        """A line of text."""
        self._out.print(text, markup=False)


def print_error(error: AnimusError) -> None:
    """One line on standard error: what is wrong, and what to do."""
    hint = f" {error.hint}" if error.hint else ""
    print(f"animus3d: {error.what}{hint}".replace("\n", " "), file=sys.stderr)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _details(stage: StageStatus) -> str:
    """What is wrong with a stage, its own settings, and what it was made from."""
    settings = (f"{name}={value!r}" for name, value in (stage.changed or {}).items())
    parts = [stage.problem, "  ".join(settings), f"from {', '.join(stage.read)}" if stage.read else ""]
    return "\n".join(filter(None, parts))
