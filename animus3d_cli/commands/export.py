"""animus3d export"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from animus3d_cli import options
from animus3d_cli.session import session
from animus3d_cli.settings import build_config


def command(
    format: Annotated[
        str,
        typer.Option(
            "--format", metavar="NAME", help="ply-sequence, splat-sequence, splat-glb, html, usd, glb or bvh."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="PATH", help="The file; for a sequence the name that numbers are added to.")
    ],
    run: options.Run = None,
    frames: options.Frames = None,
    fps: Annotated[int, typer.Option("--fps", help="Frames a second.")] = 16,
    source: Annotated[str, typer.Option("--source", help="auto, tracked, refined, motion or static.")] = "auto",
    loop: Annotated[bool, typer.Option("--loop", help="Seamless loop, by cross-fade.")] = False,
    mesh: Annotated[
        Path | None,
        typer.Option(
            "--mesh",
            metavar="FILE",
            help="For glb: the .glb, .gltf or .obj that is to move. Default: what reconstruct read",
            show_default=False,
        ),
    ] = None,
    pose: Annotated[
        str | None,
        typer.Option(
            "--pose",
            metavar="CLIP@S",
            help="For glb: the pose that the asset was made in. Default: searched for",
            show_default=False,
        ),
    ] = None,
    skinned: Annotated[
        bool,
        typer.Option("--skinned", help="For glb and usd: a skeleton and its animation, of distill --motion skeleton."),
    ] = False,
    add: Annotated[
        list[Path] | None,
        typer.Option(
            "--add",
            metavar="RUN",
            help="Another run of the asset, whose motion goes into the same skinned file.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name", help="What an animation is called: one for each --add, or one more.", show_default=False
        ),
    ] = None,
    credit: Annotated[
        str,
        typer.Option(
            "--credit", metavar="TEXT", help="Who made the asset: kept in html, usd and glb.", show_default=False
        ),
    ] = "",
    ground: Annotated[
        bool, typer.Option("--ground", help="For html: a checkerboard with a soft shadow under the asset.")
    ] = False,
    up: Annotated[
        str | None,
        typer.Option(
            "--up",
            metavar="AXIS",
            help="For sequences: the axis of the files that points up. Default: -y as viewers take it, y for .spz",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Take the moving asset to other tools.

    ply-sequence and splat-sequence: numbered splats that SuperSplat opens as an animation. The suffix of PATH chooses:
    .ply, .compressed.ply and .sog (small), .spz, .splat. splat-glb: Gaussians in glTF (KHR_gaussian_splatting). html:
    one page that plays in any browser, without a network. usd: an animated ParticleField3DGaussianSplat. glb: the
    motion on the mesh that the asset came from, as morph targets. With --skinned glb is that mesh with its own joints
    and materials and the motion beside its clips; where rig found other joints, with these in place of its own and of
    its clips; or a mesh that stands in for a splat. bvh is the skeleton alone.

    Reads asset/ and tracked/, refined/ or motion/, writes PATH. Nothing is cached: the file is replaced.

    Example: animus3d export --format html --out goat.html
    """
    from stages.export import PRESETS
    from stages.export import run as export

    flags = {
        "format": format,
        "frames": frames,
        "fps": fps,
        "source": source,
        "loop": loop,
        "pose": pose,
        "skinned": skinned,
        "add": tuple(map(str, add or ())),
        "names": tuple(name or ()),
        "credit": credit,
        "ground": ground,
        "up": up,
    }
    config = build_config(PRESETS, "default", flags, [])
    with session("export", run, must_exist=True) as (run_dir, console):
        export(run_dir, config, console, out=out, mesh=mesh)
