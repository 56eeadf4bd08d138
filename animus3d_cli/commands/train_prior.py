"""animus3d train-prior"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from animus3d_cli import options
from animus3d_cli.session import resolve_device
from animus3d_cli.settings import build_config


def command(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the prior, for --prior DIR.")],
    kind: Annotated[
        str,
        typer.Option("--kind", metavar="KIND", help="video (the embedded prior), or points (trajectories in 3D)."),
    ] = "video",
    clips: Annotated[
        int | None,
        typer.Option("--clips", min=64, help="Clips rendered for training. Default: 12288", show_default=False),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="FOLDER", help="Your own animated .glb files, with captions.csv.", show_default=False
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            metavar="PRIOR",
            help="Start from the weights of this prior: points, embedded-video, a folder or a hub id.",
        ),
    ] = None,
    steps: options.Steps = None,
    seed: options.Seed = None,
    preset: options.Preset = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes", min=0.0, help="Stop at the first checkpoint after these; points only.", show_default=False
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option("--processes", min=1, help="Processes that share each batch. Default: 1", show_default=False),
    ] = None,
    device: options.Device = "auto",
    settings: options.Settings = None,
    force: options.Force = False,
) -> None:
    """Train a prior of this project's own from moving bodies.

    Takes hours on two cores (fastest with one of --processes a core and --set compile=true), and resumes where it
    stopped; --kind points an hour on one, from the bodies in assets/bodies, and only --steps, --seed, --minutes and
    --set go with it. Without --data it needs a checkout: the animated bodies are not in the wheel. FOLDER/captions.csv
    has a line for every sentence, below the head "file,clip,caption,motion,rest,cycles"; the last three may be left out
    (the word that says the motion; the clip that begins at rest; cycles in a video). Writes a folder in diffusers'
    format and, in DIR/training, clips, checkpoints, metrics and contact sheets of samples.

    Example: animus3d train-prior --out my-prior --init embedded --data my-goats --steps 500
    """
    from animus3d_cli.console import Console
    from stages.run_dir import RunDir

    if kind == "points":
        train_points(out, {"steps": steps, "seed": seed, "minutes": minutes}, settings or [], force=force)
        return
    if kind != "video":
        raise typer.BadParameter("is video or points", param_hint="--kind")
    from stages.train_prior import PRESETS
    from stages.train_prior import run as train_prior

    flags = {
        "num_clips": clips, "data": str(data) if data else None, "init": init, "steps": steps, "seed": seed,
        "processes": processes, "device": resolve_device(device),
    }  # fmt: skip
    config = build_config(PRESETS, preset or "default", flags, settings or [])
    console = Console()
    try:
        with RunDir(out).lock("train-prior"):
            train_prior(out, config, console, force=force)
    finally:
        console.close()


def train_points(out: Path, flags: dict[str, Any], settings: list[str], *, force: bool) -> None:
    """``--kind points``."""
    from animus3d_cli.console import Console
    from stages.run_dir import RunDir
    from stages.train_points import PRESETS, run

    config = build_config(PRESETS, "default", flags, settings)
    console = Console()
    try:
        with RunDir(out).lock("train-prior"):
            run(out, config, console, force=force)
    finally:
        console.close()
