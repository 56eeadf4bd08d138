"""animus3d sample"""

from __future__ import annotations

from typing import Annotated

import typer

from animus3d_cli import options
from animus3d_cli.session import resolve_device, session
from animus3d_cli.settings import build_config


def command(
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", help='What the asset does: "a jumping goat". Required.', show_default=False),
    ] = None,
    run: options.Run = None,
    count: Annotated[
        int | None, typer.Option("--count", min=1, help="How many motions are drawn. Default: 6", show_default=False)
    ] = None,
    guidance: Annotated[
        float | None, typer.Option("--guidance", help="Classifier-free guidance; 1 is none.", show_default=False)
    ] = None,
    bank: options.Bank = None,
    seed: options.Seed = None,
    prior: options.Prior = None,
    offline: options.Offline = False,
    device: options.Device = "auto",
    raster: options.Raster = None,
    settings: options.Settings = None,
    start_from: options.From = None,
    force: options.Force = False,
) -> None:
    """Draw several motions of one sentence, to choose from.

    The points prior draws paths in seconds; priors of videos draw a video each, those of several views one for each
    camera. Nothing is fitted yet.

    Reads asset/, writes samples/: a contact sheet, a page and videos. Next: animus3d distill --sample NUMBER

    Example: animus3d sample --prompt "a jumping goat" --count 6
    """
    from stages.sample import PRESETS
    from stages.sample import run as sample

    flags = {
        "prompt": prompt, "count": count, "guidance": guidance, "seed": seed, "prior": prior, "raster": raster,
        "device": resolve_device(device), "bank": None if bank is None else str(bank),
    }  # fmt: skip
    config = build_config(PRESETS, "default", flags, settings or [])
    with session("sample", run, start_from=start_from, must_exist=True) as (run_dir, console):
        sample(run_dir, config, console, force=force)
