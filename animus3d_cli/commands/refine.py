"""animus3d refine"""

from __future__ import annotations

from typing import Annotated

import typer

from animus3d_cli import options
from animus3d_cli.session import preset_for, resolve_device, session
from animus3d_cli.settings import build_config


def command(
    run: options.Run = None,
    strength: Annotated[
        float | None,
        typer.Option(
            "--strength", min=0.0, max=1.0, help="How much noise SDEdit adds and removes.", show_default=False
        ),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            "--objective",
            metavar="sdedit|4d-sds",
            help="Repair what the prior sees once and fit that (sdedit), or ask it in every step (4d-sds, Animate3D). "
            "Default: sdedit",
            show_default=False,
        ),
    ] = None,
    bank: options.Bank = None,
    steps: options.Steps = None,
    seed: options.Seed = None,
    prior: options.Prior = None,
    preset: options.Preset = None,
    profile: options.Profile = None,
    ground: options.Ground = False,
    offline: options.Offline = False,
    device: options.Device = "auto",
    raster: options.Raster = None,
    settings: options.Settings = None,
    start_from: options.From = None,
    force: options.Force = False,
    tensorboard: options.TensorBoard = False,
) -> None:
    """Smooth the motion with videos that the prior repaired.

    Renders of the motion are noised and denoised (SDEdit), and the motion is fitted to the result.

    Reads asset/ and motion/, writes refined/motion.safetensors at 2T - 1 frame times. Next: animus3d render

    Example: animus3d refine --strength 0.3
    """
    from stages.refine import PRESETS
    from stages.refine import run as refine

    flags = {
        "strength": strength,
        "objective": objective,
        "bank": None if bank is None else str(bank),
        "steps": steps,
        "seed": seed,
        "prior": prior,
        "raster": raster,
        "profile": profile,
        "views.ground": ground or None,
        "device": resolve_device(device),
    }
    config = build_config(PRESETS, preset_for(preset, prior), flags, settings or [])
    with session("refine", run, start_from=start_from, must_exist=True, tensorboard=tensorboard) as (run_dir, console):
        refine(run_dir, config, console, force=force)
