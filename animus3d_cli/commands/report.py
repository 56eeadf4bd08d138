"""animus3d report"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from animus3d_cli import options


def command(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN", help="Run directories. Default: as with --run", show_default=False),
    ] = None,
    run: options.Run = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The page.")] = Path("report.html"),
    table: Annotated[
        list[Path] | None,
        typer.Option(
            "--table",
            metavar="FILE",
            help="The metrics as .md, .csv or .tex too; may be repeated.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compare runs on one page.

    Videos side by side, contact sheets, what was measured with the best marked, what was logged on the way, settings
    that differ, and what made each run: one HTML file that needs no network, for screens, phones and paper.

    Of a batch: every job with its video, and why some have failed.

    Reads whatever the runs hold, also unfinished ones, and writes FILE only; what is missing is shown with the command
    that makes it.

    Example: animus3d report runs/walk runs/jump --out page.html --table numbers.tex
    """
    from animus3d_cli.console import Console
    from stages.report import run as report
    from stages.run_dir import resolve_run_path

    report(runs or [resolve_run_path(run)], Console(), out=out, tables=table or [])
