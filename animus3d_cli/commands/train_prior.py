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
    from animus3d_cli.console import Console
    from stages.run_dir import RunDir

    if kind == "points":
        unused: dict[str, Any] = {"--clips": clips, "--preset": preset, "--processes": processes}
        if given := [name for name, value in unused.items() if value is not None]:
            raise typer.BadParameter("goes with --kind video only", param_hint=given[0])
        if device not in ("auto", "cpu"):
            raise typer.BadParameter("points are trained on the CPU", param_hint="--device")
        flags: dict[str, Any] = {
            "data": str(data) if data else None, "init": init, "steps": steps, "seed": seed, "minutes": minutes,
        }  # fmt: skip
        train_points(out, flags, settings or [], force=force)
        return
    if kind == "views":
        unused = {"--preset": preset, "--processes": processes, "--minutes": minutes}
        if given := [name for name, value in unused.items() if value is not None]:
            raise typer.BadParameter("does not go with --kind views", param_hint=given[0])
        flags = {
            "num_clips": clips, "data": str(data) if data else None, "init": init, "steps": steps, "seed": seed,
            "device": resolve_device(device),
        }  # fmt: skip
        train_views(out, flags, settings or [], force=force)
        return
    if kind != "video":
        raise typer.BadParameter("is points, video or views", param_hint="--kind")
    if clips is not None and clips < 64:
        raise typer.BadParameter("64 or more are needed for --kind video", param_hint="--clips")
    from stages.train_prior import PRESETS
    from stages.train_prior import run as train_prior

    if minutes is not None:
        raise typer.BadParameter("goes with --kind points only", param_hint="--minutes")
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


def train_views(out: Path, flags: dict[str, Any], settings: list[str], *, force: bool) -> None:
    """``--kind views``."""
    from animus3d_cli.console import Console
    from stages.run_dir import RunDir
    from stages.train_views import PRESETS, run

    config = build_config(PRESETS, "default", flags, settings)
    console = Console()
    try:
        with RunDir(out).lock("train-prior"):
            run(out, config, console, force=force)
    finally:
        console.close()
