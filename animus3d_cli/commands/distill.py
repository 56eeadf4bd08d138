"""animus3d distill"""

from __future__ import annotations

from typing import Annotated

import typer

from animus3d_cli import options
from animus3d_cli.session import objective_preset, preset_for, resolve_device, session
from animus3d_cli.settings import build_config

KINDS = {"field": "hexplane", "points": "points", "skeleton": "skeleton"}


def motion_kind(name: str | None) -> str | None:
    """The kind of motion that ``--motion`` names."""
    if name is None:
        return None
    if name not in KINDS:
        raise typer.BadParameter(
            f"there is no motion {name!r}; choose one of: {', '.join(KINDS)}", param_hint="--motion"
        )
    return KINDS[name]


def command(
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", help='What the asset does: "a jumping goat". Required.', show_default=False),
    ] = None,
    then: options.Then = None,
    seconds: options.Seconds = None,
    run: options.Run = None,
    objective: Annotated[
        str | None,
        typer.Option(
            "--objective",
            help="match (follow a sample), msd (motion score distillation) or sds. Default: match with priors that see "
            "points, else msd",
            show_default=False,
        ),
    ] = None,
    guidance: Annotated[
        float | None, typer.Option("--guidance", help="Classifier-free guidance; 1 is none.", show_default=False)
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", min=1, help="Follow this one of the run's samples.", show_default=False),
    ] = None,
    amplitude: Annotated[
        float | None,
        typer.Option(
            "--amplitude", min=0.5, max=1.5, help="How far a sampled motion goes; 1 is as sampled.", show_default=False
        ),
    ] = None,
    motion: Annotated[
        str | None,
        typer.Option(
            "--motion",
            metavar="field|points|skeleton",
            help="What carries the motion: a field (HexPlane), a few hundred points, or the bones of rig. Default: "
            "points with priors that see points, else field",
            show_default=False,
        ),
    ] = None,
    travel: Annotated[
        str | None,
        typer.Option(
            "--travel",
            metavar="auto|none|SPEED",
            help="Whether the body leaves its place: as its feet push, not, or as fast as this, in the asset's units a "
            "second. Default: none",
            show_default=False,
        ),
    ] = None,
    steps: options.Steps = None,
    seed: options.Seed = None,
    prior: options.Prior = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="NAME",
            help="default, points-msd (MSD with the points prior), video (MSD with embedded-video), preview (quick, "
            "without MSD), best (slow), published (for published models), or akd (the bones of rig over a ground, SDS "
            "from CogVideoX-5b).",
            show_default=False,
        ),
    ] = None,
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
    """Make the asset move as the sentence says.

    The points prior draws samples of the motion; the one nearest to the others is followed. Motion score distillation
    (--objective msd) compares with the asset at rest, which takes the LoRA of fit-lora. The asset itself never changes.

    Reads asset/ and, for MSD, lora/; with --sample samples/. Writes motion/motion.safetensors, previews on the way.
    Next: animus3d render, or refine

    Example: animus3d distill --prompt "a jumping goat" --steps 120 --seed 1
    """
    from stages.distill import PRESETS, check_prompt
    from stages.distill import run as distill

    if objective == "match" and preset not in (None, "default"):
        raise typer.BadParameter(f"match does not go with --preset {preset}", param_hint="--objective")
    preset = preset or objective_preset(objective, prior)
    flags = {
        "prompt": prompt, "then": None if then is None else tuple(then), "seconds": seconds,
        "score.objective": None if objective == "match" else objective, "score.guidance": guidance, "steps": steps,
        "seed": seed,
        "motion.kind": motion_kind(motion), "travel": travel,
        "match.sample": sample, "match.amplitude": amplitude, "prior": prior, "raster": raster, "profile": profile,
        "views.ground": ground or None, "device": resolve_device(device),
    }  # fmt: skip
    config = build_config(PRESETS, preset_for(preset, prior), flags, settings or [])
    check_prompt(config)
    with session("distill", run, start_from=start_from, must_exist=True, tensorboard=tensorboard) as (run_dir, console):
        distill(run_dir, config, console, force=force)
