"""animus3d render"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from animus3d_cli import options
from animus3d_cli.session import resolve_device, session
from animus3d_cli.settings import build_config


def command(
    out: Annotated[
        Path | None,
        typer.Argument(
            help="out.mp4, .webm, .mov, .gif, .png (numbered) or .ply (numbered splats). Default: RUN/renders/",
            show_default=False,
        ),
    ] = None,
    run: options.Run = None,
    frames: options.Frames = None,
    size: options.Size = None,
    fps: Annotated[int, typer.Option("--fps", help="Frames a second.")] = 16,
    azimuth: Annotated[float, typer.Option("--azimuth", help="Degrees around the asset; 0 is in front.")] = 35.0,
    elevation: Annotated[float, typer.Option("--elevation", help="Degrees above the horizon.")] = 15.0,
    orbit: Annotated[
        float, typer.Option("--orbit", help="Degrees that the camera travels around the asset; 360 is a turntable.")
    ] = 0.0,
    camera: Annotated[
        Path | None,
        typer.Option(
            "--camera", metavar="FILE", help="JSON with a path of the camera, or one of still.", show_default=False
        ),
    ] = None,
    fov: Annotated[float, typer.Option("--fov", help="Field of view in degrees.")] = 35.0,
    follow: Annotated[bool, typer.Option("--follow", help="The camera goes along with a body that travels.")] = False,
    background: Annotated[
        str,
        typer.Option(
            "--background",
            help="auto (white; grey behind a white asset), white, black, gray, #rrggbb, R,G,B or transparent "
            "(webm, mov, gif, png).",
        ),
    ] = "auto",
    ground: options.Ground = False,
    source: Annotated[
        str,
        typer.Option(
            "--source",
            help="auto, tracked, refined, motion or static; or FILE.glb#CLIP, a clip of the asset's own rigged file.",
        ),
    ] = "auto",
    loop: Annotated[bool, typer.Option("--loop", help="Seamless loop, by cross-fade.")] = False,
    compare: Annotated[bool, typer.Option("--compare", help="The asset at rest beside it, on the left.")] = False,
    device: options.Device = "auto",
    raster: options.Raster = None,
) -> None:
    """Write a video, pictures, or a sequence of splats.

    The suffix of OUT chooses: mp4, webm (VP9), mov (ProRes 4444), gif, numbered png, or numbered .ply that SuperSplat
    opens.

    Reads asset/ and tracked/, refined/ or motion/, writes OUT. Nothing is cached: the file is replaced.

    Example: animus3d render --frames 31 --orbit 90 out.mp4
    """
    from stages.render import PRESETS
    from stages.render import run as render

    width, height = options.parse_size(size)
    flags = {
        "frames": frames, "width": width, "height": height, "fps": fps, "azimuth_deg": azimuth,
        "elevation_deg": elevation, "orbit_deg": orbit, "fov_deg": fov, "background": background, "source": source,
        "camera": camera, "loop": loop, "compare": compare, "raster": raster, "device": resolve_device(device),
        "ground": ground, "follow": follow,
    }  # fmt: skip
    config = build_config(PRESETS, "default", flags, [])
    with session("render", run, must_exist=True) as (run_dir, console):
        render(run_dir, config, console, out=out)
