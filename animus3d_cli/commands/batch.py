"""animus3d batch"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from animus3d_cli import engines, options

if TYPE_CHECKING:
    from stages.jobs.job import Job


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
    out: Annotated[
        str, typer.Option("--out", metavar="FOLDER|URL", help="Where the runs go; or s3://..., where they are copied.")
    ] = "results",
    local: Annotated[
        Path | None,
        typer.Option(
            "--work", metavar="FOLDER", help="Where they are made, with --out URL. Default: ./batch", show_default=False
        ),
    ] = None,
    engine: engines.Name = "here",
    ray_address: engines.RayAddress = None,
    slurm: engines.Slurm = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, with --engine slurm the sbatch script; no more.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="Jobs at a time. Default: one a graphics card, else one a core; 64 jobs of SLURM",
            show_default=False,
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

    Reads JOBS.csv and the assets, files or URLs, writes FOLDER.

    Example: animus3d batch jobs.csv --out results

    Example: animus3d batch jobs.csv --out results --engine slurm --slurm partition=gpu,gpus_per_node=1,time=30
    """
    from animus3d_cli.batch_screen import Lines, Screen
    from animus3d_cli.console import Console
    from stages.errors import BadInput
    from stages.events import silent
    from stages.jobs.engines.engine import Named
    from stages.jobs.table import is_url

    if (table is None) == (assets is None or prompts is None) or (table is not None and (assets or prompts)):
        raise BadInput(
            "batch needs a table, or --assets and --prompts.", "For example: animus3d batch jobs.csv --out results"
        )
    engines.check(engine)
    folder = (local or Path("batch")) if is_url(out) else Path(out)
    if dry_run:
        _show(_jobs(table, assets, prompts), folder, engine, slurm)
        return
    console = silent if as_json else Console()
    screen = Lines() if as_json else Screen()
    work = Named("stages.batch.work", "do")
    used = engines.engine_of(engine, work, folder, workers, device, ray_address, slurm)
    try:  # what the workers need is loaded while the table is read
        from stages.batch import driver

        jobs = _jobs(table, assets, prompts)
        driver.run(
            folder, jobs, used, console, screen.tell, device=device, raster=raster,
            publish=out if is_url(out) else None, retry_failed=retry_failed,
        )  # fmt: skip
    finally:
        used.close()
        screen.close()


def _jobs(table: Path | None, assets: Path | None, prompts: Path | None) -> list[Job]:
    """The jobs of a table, or the product of assets and sentences."""
    from stages.batch.settings import sets, settings_of
    from stages.gaussians.formats import READERS
    from stages.jobs.table import product, read_table
    from stages.reconstruct import MESHES

    if table is not None:
        return read_table(table, sets, settings_of)
    assert assets is not None and prompts is not None
    return product(assets, prompts, (*READERS, *MESHES), settings_of)


def _show(jobs: Sequence[Job], folder: Path, engine: str, slurm: str) -> None:
    """What would be done."""
    from stages.jobs.folder import BatchFolder

    shown = ""
    if engine == "slurm":
        from stages.jobs.engines.slurm import parse_options, script

        shown = script(parse_options(slurm), folder.absolute() / "slurm")
    there = BatchFolder(folder)
    done = sum(there.is_done(job) for job in jobs)
    print(f"{len(jobs)} jobs, {done} of them done already; nothing was begun.")
    if shown:
        print(shown)
