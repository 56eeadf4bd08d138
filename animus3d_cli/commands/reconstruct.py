"""animus3d reconstruct"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from animus3d_cli import options
from animus3d_cli.session import session
from animus3d_cli.settings import build_config


def command(
    file: Annotated[Path, typer.Argument(help="A .ply splat (INRIA layout), or a .glb, .gltf or .obj mesh.")],
    run: options.Run = None,
    num_gaussians: Annotated[
        int | None,
        typer.Option("--num-gaussians", min=1, help="Gaussians sampled from a mesh. Default: 6000", show_default=False),
    ] = None,
    up: Annotated[
        str | None,
        typer.Option(
            "--up",
            help="The file's axis that points up: y, -y, z, -z, x or -x. Captures often need -y.",
            show_default=False,
        ),
    ] = None,
    seed: options.Seed = None,
    force: options.Force = False,
    settings: options.Settings = None,
) -> None:
    """Take a splat or a mesh over as the asset of a run.

    A splat is checked; a mesh becomes flat Gaussians sampled on its surface.

    Reads FILE, writes asset/canonical.ply, which every later stage works on. Next: animus3d fit-lora

    Example: animus3d reconstruct fox.glb --num-gaussians 8000
    """
    from stages.reconstruct import PRESETS
    from stages.reconstruct import run as reconstruct

    flags = {"num_gaussians": num_gaussians, "up": up, "seed": seed}
    config = build_config(PRESETS, "default", flags, settings or [])
    with session("reconstruct", run) as (run_dir, console):
        reconstruct(run_dir, config, console, file=file, force=force)
