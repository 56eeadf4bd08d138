"""animus3d eval"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from animus3d_cli import options
from animus3d_cli.session import resolve_device, session
from animus3d_cli.settings import build_config


def command(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN", help="Run directories to compare, or one as --run.", show_default=False),
    ] = None,
    run: options.Run = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write the metrics here too; a list for several runs."),
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(metavar="T", help="The true motion: FILE.glb#Clip, or a run with the same asset."),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="R", help="What FID and FVD compare with: a run, or a folder of videos.")
    ] = None,
    clip: Annotated[
        str | None, typer.Option(metavar="NAME", help="CLIP: a folder or hub id, for clip image and clip text.")
    ] = None,
    aesthetic: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="LAION's aesthetic head, with --clip openai/clip-vit-large-patch14."),
    ] = None,
    dino: Annotated[
        str | None, typer.Option(metavar="NAME", help="DINO ViT-B/16: a folder or hub id, for i2v subject.")
    ] = None,
    inception: Annotated[
        str | None, typer.Option(metavar="FILE", help="Inception weights, as FID code shares them.")
    ] = None,
    i3d: Annotated[str | None, typer.Option(metavar="FILE", help="I3D as TorchScript, for FVD.")] = None,
    raft: Annotated[str | None, typer.Option(metavar="FILE", help="RAFT as TorchScript, for dynamic degree.")] = None,
    amt: Annotated[str | None, typer.Option(metavar="FILE", help="AMT as TorchScript, for motion smoothness.")] = None,
    videophy: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="VideoPhy's judge, for SA and PC: cannot be run yet.")
    ] = None,
    source: Annotated[str, typer.Option("--source", help="auto, tracked, refined, motion or static.")] = "auto",
    offline: options.Offline = False,
    device: options.Device = "auto",
    raster: options.Raster = None,
    settings: options.Settings = None,
) -> None:
    """Measure the motion, of one run or of several side by side.

    How much moves, how smoothly, how well the body holds together, and, with the networks for it, what the paper and
    VBench measure. What is not available says how to get it.

    Reads asset/ and tracked/, refined/ or motion/, writes eval/metrics.json, in which every metric states its
    definition.

    Example: animus3d eval one two --truth deer.glb#Walk --json metrics.json
    """
    from stages.errors import BadInput
    from stages.evaluate import PRESETS, prepare
    from stages.evaluate import run as evaluate
    from stages.evaluating.feature_networks import NetworkPlaces
    from stages.files import write_json
    from stages.run_dir import RunDir, resolve_run_path

    if runs and run is not None:
        raise BadInput("Runs are named twice.", "Give them as arguments, or one with --run.")
    paths = runs or [resolve_run_path(run)]
    flags = {
        "source": source,
        "reference": reference,
        "truth": truth,
        "networks": NetworkPlaces(
            clip=clip,
            aesthetic=aesthetic,
            dino=dino,
            inception=inception,
            i3d=i3d,
            raft=raft,
            amt=amt,
            videophy=videophy,
        ),
        "raster": raster,
        "device": resolve_device(device),
    }
    config = build_config(PRESETS, "default", flags, settings or [])
    tools, results = None, []
    for path in paths:
        with session("eval", path, must_exist=True) as (run_dir, console):
            tools = tools or prepare(config, [RunDir(each) for each in paths])
            own_json = json_file if len(paths) == 1 else None
            results.append(evaluate(run_dir, config, console, json_file=own_json, tools=tools))
    if json_file is not None and len(paths) > 1:
        write_json(json_file, results)
    console.metrics(results)
