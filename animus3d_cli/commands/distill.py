"""animus3d distill"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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


def paths(given: list[Path] | None) -> tuple[str, ...] | None:
    """Names of files as a setting."""
    return None if given is None else tuple(map(str, given))


def follows_samples(run: Path | None, start_from: Path | None) -> bool:
    """Whether the samples of the run are videos."""
    from stages.distilling.drawn import VIDEO, kind_of_samples
    from stages.run_dir import RunDir, resolve_run_path

    where = resolve_run_path(run)
    return kind_of_samples(RunDir(where if where.exists() or start_from is None else start_from)) == VIDEO


def follow_videos(
    run: Path | None,
    start_from: Path | None,
    settings: list[str],
    *,
    force: bool,
    tensorboard: bool,
    flags: dict[str, Any],
) -> None:
    """Distil from videos, see ``stages.distill_videos``."""
    from stages.distill_videos import PRESETS
    from stages.distill_videos import run as distill

    config = build_config(PRESETS, "default", flags, settings)
    with session("distill", run, start_from=start_from, must_exist=True, tensorboard=tensorboard) as (run_dir, console):
        distill(run_dir, config, console, force=force)


def command(
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt", help='What the asset does: "a jumping goat". Required without --video.', show_default=False
        ),
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
    video: Annotated[
        list[Path] | None,
        typer.Option(
            "--video",
            metavar="FILE",
            help="Follow this video (mp4, webm, gif, or a folder of frames) of a picture that still made; may be "
            "repeated, for several cameras.",
            show_default=False,
        ),
    ] = None,
    camera: Annotated[
        list[str] | None,
        typer.Option(
            "--camera",
            metavar="FILE|auto",
            help="The camera of each --video, as still writes it. auto: found from the first frame. Default: auto",
            show_default=False,
        ),
    ] = None,
    mask: Annotated[
        list[Path] | None,
        typer.Option(
            "--mask",
            metavar="FOLDER",
            help="Masks of each --video, a picture a frame, white where the object is. Default: by its background",
            show_default=False,
        ),
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
    (--objective msd) compares with the asset at rest, which takes the LoRA of fit-lora. With --video, or a --sample
    that is a video, the motion is fitted to what is seen there. The asset itself never changes.

    Reads asset/ and, for MSD, lora/; with --sample samples/. Writes motion/motion.safetensors, previews on the way.
    Next: animus3d render, or refine

    Example: animus3d distill --prompt "a jumping goat" --steps 120 --seed 1
    """
    from stages.distill import PRESETS, check_prompt
    from stages.distill import run as distill

    if video or camera or mask or (sample is not None and follows_samples(run, start_from)):
        if objective not in (None, "match"):
            raise typer.BadParameter("videos are matched, whatever the prior", param_hint="--objective")
        if refused := [
            name
            for name, value in {
                "--then": then,
                "--amplitude": amplitude,
                "--guidance": guidance,
                "--prior": prior,
                "--preset": preset,
                "--ground": ground,
            }.items()
            if value
        ]:
            raise typer.BadParameter(f"does not go with videos: {', '.join(refused)}", param_hint=refused[0])
        follow_videos(
            run, start_from, settings or [], force=force, tensorboard=tensorboard,
            flags={
                "prompt": prompt, "sample": sample, "seconds": seconds, "travel": travel, "steps": steps, "seed": seed,
                "motion.kind": motion_kind(motion), "raster": raster, "device": resolve_device(device),
                "given.videos": paths(video), "given.cameras": None if camera is None else tuple(camera),
                "given.masks": paths(mask),
            },
        )  # fmt: skip
        return
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
