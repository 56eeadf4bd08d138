"""animus3d still"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from animus3d_cli import options
from animus3d_cli.session import resolve_device, session
from animus3d_cli.settings import build_config


def command(
    run: options.Run = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The picture, a .png. Default: RUN/renders/still.png", show_default=False),
    ] = None,
    azimuth: Annotated[float, typer.Option("--azimuth", help="Degrees around the asset; 0 is in front.")] = 35.0,
    elevation: Annotated[float, typer.Option("--elevation", help="Degrees above the horizon.")] = 15.0,
    fov: Annotated[float, typer.Option("--fov", help="Field of view in degrees, along the shorter side.")] = 35.0,
    size: options.Size = None,
    camera: Annotated[
        Path | None,
        typer.Option(
            "--camera", metavar="FILE", help="From such a file instead of the angles, changed by hand.",
            show_default=False,
        ),
    ] = None,
    background: Annotated[
        str, typer.Option("--background", help="white, black, gray, #rrggbb, R,G,B or transparent.")
    ] = "white",
    device: options.Device = "auto",
    raster: options.Raster = None,
) -> None:  # fmt: skip
    """Write a picture of the asset at rest, and its camera.

    The picture is for any image-to-video service. The camera, NAME.json beside NAME.png, is a file that render --camera
    reads: angles and distance in the units of the asset's file, and the size of the picture.

    Reads asset/, writes OUT and its .json; both are replaced.

    Example: animus3d still --azimuth 30 --out deer.png
    """
    from stages.still import PRESETS
    from stages.still import run as still

    width, height = options.parse_size(size)
    flags = {
        "azimuth_deg": azimuth, "elevation_deg": elevation, "fov_deg": fov, "width": width, "height": height,
        "camera": camera, "background": background, "raster": raster, "device": resolve_device(device),
    }  # fmt: skip
    config = build_config(PRESETS, "default", flags, [])
    with session("still", run, must_exist=True) as (run_dir, console):
        still(run_dir, config, console, out=out)
