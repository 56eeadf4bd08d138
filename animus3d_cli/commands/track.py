"""animus3d track"""

from __future__ import annotations

from typing import Annotated

import typer

from animus3d_cli import options
from animus3d_cli.session import resolve_device, session
from animus3d_cli.settings import build_config


def command(
    run: options.Run = None,
    source: Annotated[
        str | None,
        typer.Option("--source", help="What to follow: auto, motion or refined. Default: auto", show_default=False),
    ] = None,
    iterations: Annotated[
        int | None,
        typer.Option("--iterations", min=1, help="Of the optimiser. Default: 120", show_default=False),
    ] = None,
    device: options.Device = "auto",
    settings: options.Settings = None,
    start_from: options.From = None,
    force: options.Force = False,
    tensorboard: options.TensorBoard = False,
) -> None:
    """Let a simulated body follow the motion.

    Its feet stand on the ground, nothing sinks, what falls is caught by its legs. The motion must be one of bones. A
    walk on the spot travels as its feet push. Needs: pip install "animus3d[physics]"

    Reads asset/ and refined/ or motion/. Writes tracked/motion.safetensors, and tracked/controls.safetensors, from
    which the simulation can be run again. Next: animus3d render --ground

    Example: animus3d track --iterations 200
    """
    from stages.track import PRESETS
    from stages.track import run as track

    flags = {"source": source, "physics.iterations": iterations, "device": resolve_device(device)}
    config = build_config(PRESETS, "default", flags, settings or [])
    with session("track", run, start_from=start_from, must_exist=True, tensorboard=tensorboard) as (run_dir, console):
        track(run_dir, config, console, force=force)
