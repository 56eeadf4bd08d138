"""animus3d view"""

from __future__ import annotations

from typing import Annotated

import typer

from animus3d_cli import options


def command(
    folder: options.RunArgument = None,
    run: options.Run = None,
    port: Annotated[int, typer.Option("--port", help="Where the page is; the next free one if it is taken.")] = 8080,
    host: Annotated[str, typer.Option("--host", help="127.0.0.1: this machine only; 0.0.0.0: all.")] = "127.0.0.1",
    ground: Annotated[
        bool, typer.Option("--ground", help="A grid under the lowest point of the body at rest.")
    ] = False,
) -> None:
    """Show the asset and its motion in a browser.

    A time slider, play, and a choice between at rest, moving and refined. While distill or refine is running, it shows
    the latest checkpoint and takes over each newer one. The bones of rig are seen through the asset, at rest and with a
    motion of bones; two boxes hide them and show their names. Colours are the same from everywhere (degree 0).

    Reads the run directory, writes nothing. Needs: pip install 'animus3d[view]'

    Example: animus3d view --port 8090
    """
    from animus3d_cli.console import Console
    from stages.run_dir import RunDir, resolve_run_path
    from stages.view import ViewConfig
    from stages.view import run as view

    view(RunDir(resolve_run_path(folder or run)), ViewConfig(host=host, port=port, ground=ground), Console())
