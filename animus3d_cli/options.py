"""Options that commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

Run = Annotated[
    Path | None,
    typer.Option("--run", metavar="DIR", help="Run directory. Default: $ANIMUS3D_RUN, else ./run", show_default=False),
]
RunArgument = Annotated[
    Path | None, typer.Argument(metavar="RUN", help="The run directory, as with --run.", show_default=False)
]
From = Annotated[
    Path | None,
    typer.Option(
        "--from", metavar="RUN", help="Start this new run from the earlier stages of another.", show_default=False
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Recompute, replacing the existing result, with any settings.")]
Steps = Annotated[
    int | None,
    typer.Option(
        "--steps", min=1, help="Optimisation steps in all: an absolute target, also when resuming.", show_default=False
    ),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of every random draw. Default: 0", show_default=False)]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        help="Named settings to start from. Default: default, or published for a published model",
        show_default=False,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any setting: group.name=value, or name=value where unique; may be repeated.",
        show_default=False,
    ),
]


def _by_its_name(prior: str | None) -> str | None:
    if prior == "embedded":
        typer.secho(
            "Caution: the prior 'embedded' is called 'embedded-video' now; 'points' is the default, and moves better.",
            err=True,
            fg=typer.colors.YELLOW,
        )
        return "embedded-video"
    return prior


Prior = Annotated[
    str | None,
    typer.Option(
        "--prior",
        metavar="NAME",
        callback=_by_its_name,
        help="points (sees the asset in 3D), embedded-video, a folder in diffusers' format, or a hub id. "
        "Default: points",
        show_default=False,
    ),
]


def _go_offline(wanted: bool) -> None:
    if wanted:
        os.environ["HF_HUB_OFFLINE"] = "1"


Ground = Annotated[
    bool,
    typer.Option(
        "--ground", help="A checkerboard with a soft shadow, under the lowest point of the body as it stands at rest."
    ),
]
Then = Annotated[
    list[str] | None,
    typer.Option("--then", help='What it does after that: "it eats"; may be repeated.', show_default=False),
]
Seconds = Annotated[
    float | None,
    typer.Option(
        "--seconds",
        help="That the motion lasts; a loop is played as often as fits. Default: as long as such motions do",
        show_default=False,
    ),
]
Frames = Annotated[
    int | None,
    typer.Option(
        "--frames",
        help="Number of frames; the motion is continuous. Default: as long as it lasts, else 31",
        show_default=False,
    ),
]
Offline = Annotated[
    bool, typer.Option("--offline", callback=_go_offline, help="Never ask the hub; use only what is on this machine.")
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="Memory of the graphics card: 24gb, 48gb or 80gb. Default: 24gb",
        show_default=False,
    ),
]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", help="Log to RUN/tensorboard too: tensorboard --logdir RUN/tensorboard")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, or cuda:1 for the second card.")]
Raster = Annotated[
    str | None,
    typer.Option(
        "--raster", metavar="NAME", help="Rasterizer: cpu, gsplat or reference. Default: by device", show_default=False
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        "--size", help="Pixels: 512, or 640x360. Default: as the file of --camera says, else 512", show_default=False
    ),
]


def parse_size(text: str | None) -> tuple[int | None, int | None]:
    """Width and height of ``--size``; None where nothing is said. Raises ``BadInput``."""
    if text is None:
        return None, None
    sides = text.lower().split("x")
    if not 1 <= len(sides) <= 2 or not all(side.isdigit() for side in sides):
        from stages.errors import BadInput

        raise BadInput(f"--size {text} is not a size.", "Write 512, or 640x360.")
    return int(sides[0]), int(sides[-1])


Bank = Annotated[
    Path | None,
    typer.Option(
        "--bank",
        metavar="FILE.glb",
        help="For --prior exact-views: the rigged file of the asset, whose clips it knows. For tests.",
        show_default=False,
    ),
]
