"""animus3d ablate"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from animus3d_cli import engines, options
from animus3d_cli.session import preset_for, resolve_device
from animus3d_cli.settings import build_config

RENDERING = ("lora", "distill", "sample", "follow", "refine", "evaluate")


def command(
    assets: Annotated[
        list[Path] | None, typer.Argument(metavar="ASSET...", help="Splats or meshes.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where runs and tables go.")] = Path("ablation"),
    prompts: Annotated[
        list[str] | None,
        typer.Option("--prompt", help="What every asset does; may be repeated.", show_default=False),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            "--tasks", metavar="FILE", help="A .csv instead: asset,prompt[,object,pose,truth].", show_default=False
        ),
    ] = None,
    names: Annotated[
        str | None,
        typer.Option(
            "--variants",
            metavar="A,B,...",
            help="Some of those below. Default: all that suit the prior",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="Seeds. Default: 3", show_default=False)] = None,
    steps: options.Steps = None,
    prior: options.Prior = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="NAME",
            help="default (points), video (embedded-video), score (that without its pixel flow, as in the paper), "
            "published, skeleton (bones, points), akd (bones, CogVideoX-5b), or animate3d (views that agree).",
            show_default=False,
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            min=1,
            help="Runs at a time; here they share the cores. Default: 1, or what the engine has room for",
            show_default=False,
        ),
    ] = None,
    engine: engines.Name = "here",
    ray_address: engines.RayAddress = None,
    slurm: engines.Slurm = "",
    device: options.Device = "auto",
    raster: options.Raster = None,
    settings: options.Settings = None,
    force: options.Force = False,
) -> None:
    """Leave out one part of the method at a time, and measure.

    Variants: full, sds-7.5, sds-100, no-faithful-noise, no-dual-distribution, static-prompt, refined; with priors that
    see points also arap, hexplane, match; with those that make videos no-tv, no-arap, no-flow, no-score. Of a motion of
    bones (--preset skeleton or akd): full, no-ground-penalty, no-smoothness, no-physics, field-instead-of-skeleton;
    with priors that see points also points-instead-of-skeleton, with those that make videos no-ground. Of views that
    are sampled and followed (--preset animate3d, or that with --prior exact-views, whose bank is the asset's own file):
    full, no-4d-sds, no-arap-in-match, single-view. Every asset is animated by each, with every seed, in runs of its own
    under FOLDER/runs, which resume; its rig is made once. Settings of the stages: --set distill.arap_weight=10, rig.,
    track., lora., sample., follow., refine., evaluate., asset.

    Writes FOLDER/ablation.json, table.md, table.csv and table.tex: means with intervals, and whether the paper's
    orderings hold.

    Example: animus3d ablate deer.ply bird.ply --prompt "a jumping animal" --out study
    """
    from animus3d_cli.console import Console
    from stages.ablate import run as ablate
    from stages.ablate import worker
    from stages.ablate_variant import PRESETS
    from stages.ablation.tasks import read_tasks, tasks_of
    from stages.ablation.variants import chosen, names_for
    from stages.errors import BadInput
    from stages.priors.find import is_points_kind

    engines.check(engine)
    if table is not None and (assets or prompts):
        raise BadInput("--tasks names assets and sentences already.", "Leave out ASSET and --prompt, or --tasks.")
    tasks = read_tasks(table) if table is not None else tasks_of(assets or [], prompts or [])
    flags = [
        *(
            (stage, "device", resolve_device(device))
            for stage in ("lora", "distill", "refine", "evaluate", "sample", "follow")
        ),
        *((stage, "raster", raster) for stage in ("lora", "distill", "refine", "evaluate", "sample", "follow")),
        *((stage, "prior", prior) for stage in ("lora", "distill", "refine", "sample")),
        ("distill", "steps", steps),
        ("follow", "steps", steps),
    ]
    assignments = [f"{stage}.{name}={value}" for stage, name, value in flags if value is not None]
    config = build_config(PRESETS, preset_for(preset, prior), {"seeds": seeds}, [*assignments, *(settings or [])])
    bones = config.distill.motion.kind == "skeleton"
    points = not config.views and is_points_kind(config.distill.prior)
    suiting = names_for(points, skeleton=bones, views=config.views)
    wanted = suiting if names is None else [name.strip() for name in names.split(",") if name.strip()]
    variants = chosen(wanted)
    used = None
    if engine != "here" or (processes or 1) > 1:
        do = worker(out.absolute(), variants, config, force=force)
        used = engines.engine_of(engine, do, out, processes, device, ray_address, slurm)
    console = Console()
    try:
        made = ablate(out, tasks, variants, config, console, engine=used, force=force)
        console.orderings(made["orderings"])
    finally:
        console.close()
