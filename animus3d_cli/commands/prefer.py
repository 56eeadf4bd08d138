"""animus3d prefer"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from animus3d_cli import options
from animus3d_cli.session import resolve_device
from animus3d_cli.settings import build_config


def command(
    paths: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run directories; with --count the CSV files.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The page.")] = Path("prefer.html"),
    azimuth: Annotated[
        float, typer.Option("--azimuth", help="Where the camera stands, in degrees; 0 is in front.")
    ] = 35.0,
    device: options.Device = "auto",
    raster: options.Raster = None,
    count: Annotated[bool, typer.Option("--count", help="Count answers instead: name the CSV files.")] = False,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="With --count: the page's .key.json.", show_default=False),
    ] = None,
    table: Annotated[
        list[Path] | None,
        typer.Option(
            "--table",
            metavar="FILE",
            help="With --count: the result as .md, .csv or .tex too; may be repeated.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Ask people which run they prefer, blindly.

    Five questions about runs of the same asset and prompt, filmed alike and shown in random order without names:
    does what the sentence says, natural motion, most motion, keeps its looks, overall. Several prompts are asked one
    after the other. Runs named METHOD/PROMPT are counted by method over all prompts.

    Reads asset/ and refined/ or motion/ of every run, writes one HTML file to give away, which saves answers as CSV,
    and its key to keep, FILE.key.json. With --count, shows how often each run won, with 95 % intervals.

    Example: animus3d prefer msd/walk sds/walk --out page.html; then
    animus3d prefer --count preference-*.csv --key page.key.json
    """
    from animus3d_cli.console import Console
    from stages import prefer
    from stages.errors import BadInput

    console = Console()
    if count:
        if key is None:
            raise BadInput("--count needs the page's key.", "Add --key PAGE.key.json.")
        result = prefer.count(paths, key, console, tables=table or [])
        console.table(result.heads, result.texts())
        for note in result.notes:
            console.note(note)
        return
    if key is not None or table:
        raise BadInput("--key and --table go with --count.", "Leave them out, or add --count.")
    flags = {"azimuth_deg": azimuth, "raster": raster, "device": resolve_device(device)}
    config = build_config(prefer.PRESETS, "default", flags, [])
    try:
        prefer.run(paths, config, console, out=out)
    finally:
        console.close()
