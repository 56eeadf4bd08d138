"""animus3d animate"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from animus3d_cli import options
from animus3d_cli.session import preset_for, resolve_device, session
from animus3d_cli.settings import build_config


def command(
    asset: Annotated[Path, typer.Argument(help="A splat or a mesh.", show_default=False)],
    prompt: Annotated[str, typer.Argument(help='What it does: "a walking goat".', show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="out.mp4, or another of the formats of render.", show_default=False)
    ] = Path("out.mp4"),
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="DIR", help="Run directory. Default: OUT_run", show_default=False),
    ] = None,
    then: options.Then = None,
    seconds: options.Seconds = None,
    pose: Annotated[
        str | None,
        typer.Option(
            "--pose", metavar="CLIP@SECONDS", help="Rest a rigged .glb in this pose: Idle.", show_default=False
        ),
    ] = None,
    up: Annotated[
        str | None, typer.Option("--up-axis", "--up", help="The axis of the file that points up.", show_default=False)
    ] = None,
    drop_floor: Annotated[bool, typer.Option("--drop-floor", help="Drop the flat floor that it stands on.")] = False,
    facing: Annotated[
        str | None,
        typer.Option("--facing", metavar="WHERE", help="Where it faces, see reconstruct.", show_default=False),
    ] = None,
    seed: options.Seed = None,
    prior: options.Prior = None,
    offline: options.Offline = False,
    device: options.Device = "auto",
    raster: options.Raster = None,
    force: options.Force = False,
) -> None:
    """Make a video of an asset that does as a sentence says.

    Runs reconstruct, fit-lora where the prior's objective needs it, distill and render with their defaults, and says
    how to go on stage by stage. What is there already is not done again.

    Reads ASSET, writes OUT and the run directory.

    Example: animus3d animate goat.ply "a walking goat" -o goat.mp4
    """
    from stages import distill, fit_lora, reconstruct, render

    where = {"device": resolve_device(device), "raster": raster}
    picture = build_config(render.PRESETS, "default", where, [])
    render.check(picture, out)  # before minutes are spent
    shared = {**where, "seed": seed, "prior": prior}
    preset = preset_for(None, prior)
    flags = {**shared, "prompt": prompt, "then": None if then is None else tuple(then), "seconds": seconds}
    moving = build_config(distill.PRESETS, preset, flags, [])
    distill.check_prompt(moving)
    reading = {"pose": pose, "up": up, "drop_floor": drop_floor or None, "facing": facing}
    still = build_config(reconstruct.PRESETS, "default", reading, [])
    run = run or out.parent / f"{out.stem}_run"
    with session("animate", run) as (run_dir, console):
        reconstruct.run(run_dir, still, console, file=asset, force=force)
        if moving.score.compares:
            lora = build_config(fit_lora.PRESETS, preset, shared, [])
            fit_lora.run(run_dir, lora, console, force=force)
        distill.run(run_dir, moving, console, force=force)
        render.run(run_dir, replace(picture, source="motion"), console, out=out)
        console.note(
            f"To go on: animus3d sample --run {run} draws other motions, refine --run {run} smooths this one, "
            f"export --run {run} --format html --out {out.stem}.html is a page that turns."
        )
