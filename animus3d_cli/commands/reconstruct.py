"""animus3d reconstruct"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from animus3d_cli import options
from animus3d_cli.session import resolve_device, session
from animus3d_cli.settings import build_config
from stages.errors import BadInput


def _numbers(text: str | None) -> tuple[float, ...] | None:
    """Numbers between commas."""
    try:
        return None if text is None else tuple(float(part) for part in text.split(","))
    except ValueError:
        raise BadInput(f"--crop {text} is not a list of numbers.", "Write them like 0,0.5,0,1.2") from None


def _refuse(flags: Mapping[str, object], used_for: str) -> None:
    """Raise ``BadInput`` when a flag is given that only the other kind of input has."""
    given = [f"--{name.replace('_', '-')}" for name, value in flags.items() if value is not None]
    if given:
        raise BadInput(f"{', '.join(given)}: only for {used_for}.", "Leave it out.")


def command(
    file: Annotated[
        Path,
        typer.Argument(
            help="A splat (.ply, .splat, .spz, .sog, .ksplat), a mesh (.glb, .gltf, .obj, .stl, .ply), or photos with "
            "known cameras: a transforms.json, or a folder with one or with COLMAP's sparse model."
        ),
    ],
    run: options.Run = None,
    num_gaussians: Annotated[
        int | None,
        typer.Option(
            "--num-gaussians",
            min=1,
            help="Gaussians sampled from a mesh, or fitted to photos. Default: 6000",
            show_default=False,
        ),
    ] = None,
    pose: Annotated[
        str | None,
        typer.Option(
            "--pose",
            metavar="CLIP@SECONDS",
            help="Rest a rigged .glb in this pose: Idle, or Walk@0.25.",
            show_default=False,
        ),
    ] = None,
    texture: Annotated[
        Path | None,
        typer.Option(
            "--texture",
            metavar="FILE",
            help="A picture for a mesh that names none, as is common with .obj.",
            show_default=False,
        ),
    ] = None,
    shading: Annotated[
        float | None,
        typer.Option(
            "--shading",
            metavar="0..1",
            help="How strongly soft light shows the form of a mesh in its colours; 0 leaves them. Default: 0.25",
            show_default=False,
        ),
    ] = None,
    up: Annotated[
        str | None,
        typer.Option(
            "--up-axis",
            "--up",
            help="The file's axis that points up: y, -y, z, -z, x or -x. Captures often need -y; for photos the "
            "default is what is up in them.",
            show_default=False,
        ),
    ] = None,
    flip: Annotated[
        str | None,
        typer.Option(
            "--flip",
            metavar="AXIS",
            help="Mirror along the file's x, y or z, before it is turned: left becomes right. For files of left-handed "
            "programs.",
            show_default=False,
        ),
    ] = None,
    min_opacity: Annotated[
        float | None, typer.Option("--min-opacity", help="Drop Gaussians fainter than this.", show_default=False)
    ] = None,
    max_size: Annotated[
        float | None,
        typer.Option(
            "--max-size", help="Drop Gaussians longer than this part of the diagonal, like 0.1.", show_default=False
        ),
    ] = None,
    crop: Annotated[
        str | None,
        typer.Option(
            "--crop",
            metavar="NUMBERS",
            help="Keep a ball, R or X,Y,Z,R, or a box, X0,Y0,Z0,X1,Y1,Z1, of the upright asset.",
            show_default=False,
        ),
    ] = None,
    drop_floor: Annotated[
        bool, typer.Option("--drop-floor", help="Drop the flat floor that it stands on, and what lies below it.")
    ] = False,
    largest: Annotated[
        bool,
        typer.Option("--largest", help="Keep the largest connected body; floors and other flat sheets do not count."),
    ] = False,
    center: Annotated[bool, typer.Option("--center", help="Move the middle of the box to the origin.")] = False,
    scale: Annotated[
        float | None, typer.Option("--scale", help="Make it this many times as large.", show_default=False)
    ] = None,
    facing: Annotated[
        str | None,
        typer.Option(
            "--facing",
            metavar="WHERE",
            help="Where it faces: +x, -x, +z, -z, degrees from +z towards +x, or none. Default: auto, found from its "
            "shape",
            show_default=False,
        ),
    ] = None,
    steps: options.Steps = None,
    seed: options.Seed = None,
    device: Annotated[
        str | None, typer.Option("--device", help="auto, cpu or cuda, to fit photos on.", show_default=False)
    ] = None,
    raster: options.Raster = None,
    force: options.Force = False,
    settings: options.Settings = None,
) -> None:
    """Make a splat, a mesh or photos the asset of a run.

    A splat is checked; a mesh becomes flat Gaussians sampled on its surface; to photos with known cameras Gaussians
    are fitted, for --steps steps, and views that were held out are measured.

    Reads FILE, writes asset/canonical.ply, which every later stage works on, and asset/preview.png, which shows where
    it faces. Next: animus3d sample, or distill

    Example: animus3d reconstruct capture.spz --up-axis -y --drop-floor --largest

    Example: animus3d reconstruct photos/ --num-gaussians 10000
    """
    from stages.captures import is_capture

    shared = {"num_gaussians": num_gaussians, "up": up, "facing": facing, "seed": seed}
    placing = {
        "pose": pose, "texture": str(texture) if texture else None, "shading": shading, "flip": flip,
        "min_opacity": min_opacity, "max_size": max_size, "crop": _numbers(crop),
        "drop_floor": drop_floor or None, "largest": largest or None, "center": center or None,
        "scale": scale,
    }  # fmt: skip
    fitting = {"steps": steps, "device": device, "raster": raster}
    stage: Any
    flags: dict[str, Any]
    if is_capture(file):
        from stages import reconstruct_photos

        _refuse(placing, "a splat or a mesh, and FILE names photos")
        stage, flags = reconstruct_photos, {**shared, **fitting, "device": resolve_device(device or "auto")}
    else:
        from stages import reconstruct

        _refuse(fitting, "photos, and FILE is neither a folder nor a transforms.json")
        stage, flags = reconstruct, {**shared, **placing}
    config = build_config(stage.PRESETS, "default", flags, settings or [])
    with session("reconstruct", run) as (run_dir, console):
        stage.run(run_dir, config, console, file=file, force=force)
