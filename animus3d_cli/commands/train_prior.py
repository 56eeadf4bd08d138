"""animus3d train-prior"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer

from animus3d_cli import options
from animus3d_cli.session import resolve_device
from animus3d_cli.settings import build_config

STAGES = {"points": "stages.train_points", "video": "stages.train_prior", "views": "stages.train_views"}
NOT_OF = {
    "points": ("--clips", "--preset", "--processes"),
    "video": ("--minutes",),
    "views": ("--preset", "--processes", "--minutes"),
}
"""Options that a kind does not know."""


def command(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the prior, for --prior DIR.")],
    kind: Annotated[
        str,
        typer.Option(
            "--kind", metavar="KIND", help="points (in 3D), video (as embedded-video), or views (as Animate3D)."
        ),
    ] = "points",
    clips: Annotated[
        int | None,
        typer.Option(
            "--clips",
            min=1,
            help="Clips rendered for --kind video (64 or more; 12288) or views (512).",
            show_default=False,
        ),
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

    A prior that sees points takes an hour or two on one core, one that makes videos hours on two (fastest with one of
    --processes a core and --set compile=true); both resume where they stopped. Without --data it needs a checkout: the
    animated bodies are not in the wheel. FOLDER/captions.csv has a line for every sentence, below the head
    "file,clip,caption,motion,rest,cycles"; the last three may be left out (the word that says the motion; the clip that
    begins at rest; cycles in a video, of which points take none: whether a clip repeats is seen from it). Bodies face
    +z. --kind views trains the adapters of a model of four views (--init FOLDER, e.g. Animate3D's; a new, small one
    without) on FOLDER's clips, with its base frozen. Writes a folder in diffusers' format and, in DIR/training,
    examples, checkpoints and metrics.

    Example: animus3d train-prior --out my-prior --init points --data my-goats --steps 500
    """
    if kind not in STAGES:
        raise typer.BadParameter(f"is {', '.join(STAGES)}", param_hint="--kind")
    if kind == "points" and device not in ("auto", "cpu"):
        raise typer.BadParameter("points are trained on the CPU", param_hint="--device")
    if kind == "video" and clips is not None and clips < 64:
        raise typer.BadParameter("64 or more are needed for --kind video", param_hint="--clips")
    given: dict[str, Any] = {"--clips": clips, "--preset": preset, "--processes": processes, "--minutes": minutes}
    for name, value in given.items():
        if value is not None and name in NOT_OF[kind]:
            raise typer.BadParameter(f"does not go with --kind {kind}", param_hint=name)
    flags: dict[str, Any] = {
        "num_clips": clips, "data": str(data) if data else None, "init": init, "steps": steps, "seed": seed,
        "minutes": minutes, "processes": processes, "device": None if kind == "points" else resolve_device(device),
    }  # fmt: skip
    from animus3d_cli.console import Console
    from stages.run_dir import RunDir

    stage = importlib.import_module(STAGES[kind])
    config = build_config(stage.PRESETS, preset or "default", flags, settings or [])
    console = Console()
    try:
        with RunDir(out).lock("train-prior"):
            stage.run(out, config, console, force=force)
    finally:
        console.close()
