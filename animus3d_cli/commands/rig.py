"""animus3d rig"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from animus3d_cli import options
from animus3d_cli.session import session
from animus3d_cli.settings import build_config


def command(
    run: options.Run = None,
    skeleton: Annotated[
        str | None,
        typer.Option(
            "--skeleton",
            metavar="file|auto|JOINTS.json",
            help="Where the bones come from: the file that the asset was made from, its shape, or a list of joints as "
            "rig/skeleton.json has them. Default: the file's where it has some, else the shape",
            show_default=False,
        ),
    ] = None,
    mesh: Annotated[
        Path | None,
        typer.Option("--mesh", help="The file that the asset was made from, where it has moved.", show_default=False),
    ] = None,
    pose: Annotated[
        str | None,
        typer.Option(
            "--pose",
            metavar="CLIP@SECONDS",
            help="The pose of that file that reconstruct --pose was given; the usual ones are tried by themselves.",
            show_default=False,
        ),
    ] = None,
    max_bones: Annotated[
        int | None,
        typer.Option(
            "--max-bones",
            min=1,
            help="Of a file's bones that may move; more are merged. Default: 24",
            show_default=False,
        ),
    ] = None,
    settings: options.Settings = None,
    start_from: options.From = None,
    force: options.Force = False,
) -> None:
    """Give the asset a skeleton and skin weights.

    A file's own bones and skin are taken as they are: helpers without skin are left out, feet that inverse kinematics
    places are put under their legs, bones that move as one are merged. Otherwise joints are found from the shape, and
    the skin is weighted by heat that spreads from the bones.

    Reads asset/. Writes rig/skeleton.json, which can be edited and given back, rig/weights.safetensors and
    rig/preview.png. Next: animus3d distill --motion skeleton

    Example: animus3d rig --skeleton auto
    """
    from stages.rig import PRESETS
    from stages.rig import run as rig

    flags = {
        "skeleton": skeleton, "mesh": None if mesh is None else str(mesh), "pose": pose, "max_bones": max_bones,
    }  # fmt: skip
    config = build_config(PRESETS, "default", flags, settings or [])
    with session("rig", run, start_from=start_from, must_exist=True) as (run_dir, console):
        rig(run_dir, config, console, force=force)
