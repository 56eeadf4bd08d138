"""Options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Run = Annotated[
    Path | None,
    typer.Option("--run", metavar="DIR", help="Run directory. Default: $ANIMUS3D_RUN, else ./run", show_default=False),
]
From = Annotated[
    Path | None,
    typer.Option(
        "--from", metavar="RUN", help="Start this new run from the earlier stages of another.", show_default=False
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Do it again although the run holds it, with any settings.")]
Steps = Annotated[
    int | None,
    typer.Option(
        "--steps", min=1, help="Optimisation steps in all: an absolute target, also when resuming.", show_default=False
    ),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of every random draw. Default: 0", show_default=False)]
Preset = Annotated[str, typer.Option("--preset", help="Named settings to start from.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Any setting, as group.name=value; may be repeated.", show_default=False
    ),
]
Prior = Annotated[
    str | None,
    typer.Option(
        "--prior",
        metavar="NAME",
        help="Video prior: 'embedded', a folder in diffusers' format, or a hub id.",
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Raster = Annotated[
    str | None,
    typer.Option(
        "--raster", metavar="NAME", help="Rasterizer: cpu, gsplat or reference. Default: by device", show_default=False
    ),
]
