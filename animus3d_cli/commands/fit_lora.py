"""animus3d fit-lora"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from animus3d_cli import options
from animus3d_cli.session import preset_for, resolve_device, session
from animus3d_cli.settings import build_config


def command(
    asset: Annotated[
        Path | None, typer.Argument(help="A splat or mesh to reconstruct first.", show_default=False)
    ] = None,
    run: options.Run = None,
    object_word: Annotated[
        str | None,
        typer.Option("--object", help="What the asset is, for the static prompt. Default: animal", show_default=False),
    ] = None,
    rank: Annotated[
        int | None, typer.Option("--rank", min=1, help="Rank of the LoRA. Default: 4", show_default=False)
    ] = None,
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
    """Learn what the asset looks like when it stands still.

    Trains a LoRA of the video prior: the static distribution that distill moves away from.

    Reads asset/canonical.ply (or reconstructs ASSET first), writes lora/adapter.safetensors. Next: animus3d distill

    Example: animus3d fit-lora goat.ply --object goat
    """
    from stages.fit_lora import PRESETS
    from stages.fit_lora import run as fit_lora

    flags = {
        "object": object_word, "rank": rank, "steps": steps, "seed": seed, "prior": prior, "raster": raster,
        "profile": profile,
        "views.ground": ground or None,
        "device": resolve_device(device),
    }  # fmt: skip
    config = build_config(PRESETS, preset_for(preset, prior), flags, settings or [])
    with session(
        "fit-lora", run, asset=asset, start_from=start_from, force=force, must_exist=True, tensorboard=tensorboard
    ) as (
        run_dir,
        console,
    ):
        fit_lora(run_dir, config, console, force=force)
