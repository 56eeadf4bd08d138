"""The screen of ``batch``: a live table for people, lines of JSON for programs."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stages.batch.driver import JobEnded, Standing
    from stages.jobs.standing import BatchStatus

PLAIN_INTERVAL_S = 10.0
"""Seconds between lines where there is no terminal."""

STYLES = {"running": "bold cyan", "failed": "bold red", "interrupted": "yellow"}
"""States of jobs that ``status`` shows one by one, and their colours."""

MOST_SHOWN = 40
"""Jobs that ``status`` shows."""

MOST_FAILED = 8
"""Failures that the table shows, the latest."""


def duration(seconds: float) -> str:
    """As in 1:02:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def counts(standing: Standing) -> str:
    """As in "12 of 200 done, 1 failed, 2 running, eta 3:10"."""
    parts = [f"{standing.done} of {standing.total} done"]
    if standing.failed:
        parts.append(f"{standing.failed} failed")
    if standing.running:
        parts.append(f"{len(standing.running)} running")
    if standing.running and standing.eta_s is not None:
        parts.append(f"eta {duration(standing.eta_s)}")
    return ", ".join(parts)


class Screen:
    """For people: a live table on a terminal, a line now and then elsewhere; a line for every job that fails."""

    def __init__(self) -> None:
        from rich.console import Console

        self._out = Console(highlight=False, soft_wrap=True)
        self._live: Any = None
        self._failed: list[tuple[str, str]] = []
        self._last = 0.0

    def tell(self, standing: Standing, ended: JobEnded | None) -> None:
        """See ``stages.batch.driver.Tell``."""
        if ended is not None and ended.outcome["state"] == "failed":
            self._failed.append((ended.name, _why(ended.outcome)))
            if not self._out.is_terminal:
                self._out.print(f"failed: {ended.name}: {_why(ended.outcome)}", markup=False)
        if self._out.is_terminal:
            self._draw(standing)
        elif time.monotonic() - self._last >= PLAIN_INTERVAL_S or not standing.running:
            self._last = time.monotonic()
            self._out.print(counts(standing), markup=False)

    def close(self) -> None:
        """Leave the table as it stands."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self, standing: Standing) -> None:
        from rich.live import Live

        if self._live is None:
            self._live = Live(console=self._out, auto_refresh=False)
            self._live.start()
        self._live.update(self._table(standing), refresh=True)

    def _table(self, standing: Standing) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Column, Table
        from rich.text import Text

        rows = Table(
            Column(no_wrap=True), Column(no_wrap=True), Column(), box=None, padding=(0, 1, 0, 0), show_header=False
        )
        now = time.monotonic()
        for name, began in standing.running.items():
            rows.add_row(Text("running", "bold cyan"), name.partition("/")[2], Text(duration(now - began)))
        for name, why in self._failed[-MOST_FAILED:]:
            rows.add_row(Text("failed", "bold red"), name, Text(why))
        bar = ProgressBar(total=max(1, standing.total), completed=standing.done + standing.failed, width=40)
        head = Table.grid(padding=(0, 1))  # a bar alone does not end its line
        head.add_row(bar, Text(counts(standing)))
        return Group(head, rows)


class Lines:
    """For programs: a line of JSON for the start, for every job that ends, and for the end."""

    def __init__(self) -> None:
        self._began = False

    def tell(self, standing: Standing, ended: JobEnded | None) -> None:
        """See ``stages.batch.driver.Tell``."""
        if not self._began:
            self._began = True
            self._say("started", standing)
        if ended is not None:
            self._say(ended.outcome["state"], standing, job=ended.name, **_shown(ended.outcome))
        elif not standing.running and standing.done + standing.failed == standing.total:
            wall = round(time.monotonic() - standing.began, 1)
            self._say("finished", standing, seconds=wall, inside_s=round(standing.seconds, 1))

    def close(self) -> None:
        """Nothing is left open."""

    def _say(self, event: str, standing: Standing, **more: Any) -> None:
        now = {"jobs": standing.total, "done": standing.done, "failed": standing.failed}
        now["running"] = len(standing.running)
        eta = None if standing.eta_s is None else round(standing.eta_s, 1)
        print(json.dumps({"event": event, **now, "eta_s": eta, **more}), flush=True)


def show_status(status: BatchStatus, *, as_json: bool) -> None:
    """The screen of ``status`` for a batch: jobs that are not simply done or waiting, and counts of all."""
    if as_json:
        from dataclasses import asdict

        print(json.dumps(asdict(status), indent=2))
        return
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    out = Console(highlight=False, soft_wrap=True)
    told = ", ".join(f"{count} {state}" for state, count in status.counts.items() if count)
    out.print(f"{status.folder}: {len(status.jobs)} jobs, {told}", markup=False)
    rows = Table(
        Column(no_wrap=True), Column(no_wrap=True), Column(), box=None, padding=(0, 1, 0, 0), show_header=False
    )
    shown = [job for job in status.jobs if job.state in STYLES]
    for job in shown[:MOST_SHOWN]:
        rows.add_row(Text(job.state, STYLES[job.state]), job.name, Text(": ".join(filter(None, [job.stage, job.why]))))
    if shown:
        out.print(rows)
    if len(shown) > MOST_SHOWN:
        out.print(f"... and {len(shown) - MOST_SHOWN} more: --json tells all of them", markup=False)
    if status.running is not None:
        out.print(f"animus3d batch is running (pid {status.running.pid} on {status.running.host}).", markup=False)
    out.print(f"Next: {status.next}", markup=False)


def _why(outcome: dict[str, Any]) -> str:
    stage = f"{outcome['stage']}: " if outcome.get("stage") else ""
    return " ".join(f"{stage}{outcome['what']} {outcome.get('hint', '')}".split())


def _shown(outcome: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in outcome.items() if key not in ("state", "traceback")}
