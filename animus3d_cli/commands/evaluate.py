"""animus3d eval"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from animus3d_cli import options
from animus3d_cli.session import resolve_device, session
from animus3d_cli.settings import build_config


def command(
    run: options.Run = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the metrics here too.", show_default=False)
    ] = None,
    source: Annotated[str, typer.Option("--source", help="auto, refined, motion or static.")] = "auto",
    device: options.Device = "auto",
    raster: options.Raster = None,
    settings: options.Settings = None,
) -> None:
    """Measure the motion.

    How much moves, how smoothly, and how well the body holds together.

    Reads asset/ and refined/ or motion/, writes eval/metrics.json, in which every metric states its definition.

    Example: animus3d eval --json metrics.json
    """
    from stages.evaluate import PRESETS
    from stages.evaluate import run as evaluate

    flags = {"source": source, "raster": raster, "device": resolve_device(device)}
    config = build_config(PRESETS, "default", flags, settings or [])
    with session("eval", run, must_exist=True) as (run_dir, console):
        console.metrics_table(evaluate(run_dir, config, console, json_file=json_file))
