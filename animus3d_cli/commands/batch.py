"""animus3d batch"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from animus3d_cli import options


def command(
    table: Annotated[
        Path | None,
        typer.Argument(metavar="JOBS.csv", help="A job a line: asset,prompt and settings.", show_default=False),
    ] = None,
    assets: Annotated[
        Path | None, typer.Option("--assets", metavar="DIR", help="Every asset of a folder ...", show_default=False)
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", metavar="FILE", help="... with every line of this file.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the runs go.")] = Path("results"),
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, help="Jobs at a time. Default: one a graphics card, else one a core", show_default=False
        ),
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Do the jobs again that have failed.")] = False,
    device: options.Device = "auto",
    raster: options.Raster = None,
    as_json: options.Json = False,
) -> None:
    """Animate many assets by many sentences; resumes.

    JOBS.csv has the columns asset and prompt, and any setting of the stages as a column: prior, seed, objective,
    distill.motion, render.frames, refined (true: refine too), video (mp4, webm, mov, gif, none). Every job is a run as
    any other, in FOLDER/jobs; what its asset needs before (reconstruct, rig, fit-lora) is made once for all its jobs.
    A job that fails says why and does not stop the others. The same command goes on, and begins nothing that is done.

    Reads JOBS.csv and the assets, writes FOLDER.

    Example: animus3d batch jobs.csv --out results
    """
    import torch

    from animus3d_cli.batch_screen import Lines, Screen
    from animus3d_cli.console import Console
    from stages.batch import driver
    from stages.batch.settings import sets, settings_of
    from stages.batch.work import do
    from stages.errors import BadInput
    from stages.events import silent
    from stages.gaussians.formats import READERS
    from stages.jobs.engines.here import Here
    from stages.jobs.table import product, read_table
    from stages.reconstruct import MESHES
    from stages.threads import choose

    if (table is None) == (assets is None or prompts is None) or (table is not None and (assets or prompts)):
        raise BadInput(
            "batch needs a table, or --assets and --prompts.", "For example: animus3d batch jobs.csv --out results"
        )
    if table is not None:
        jobs = read_table(table, sets, settings_of)
    else:
        assert assets is not None and prompts is not None
        jobs = product(assets, prompts, (*READERS, *MESHES), settings_of)
    cards = torch.cuda.device_count() if device == "auto" and torch.cuda.is_available() else 0
    cores = choose().count
    slots = workers or cards or cores
    engine = Here(do, slots, threads=max(1, cores // slots), cards=cards)
    screen = Lines() if as_json else Screen()
    try:
        driver.run(
            out, jobs, engine, silent if as_json else Console(), screen.tell, device=device, raster=raster,
            retry_failed=retry_failed,
        )  # fmt: skip
    finally:
        screen.close()
