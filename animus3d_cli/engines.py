"""Options about what runs many jobs, and the engine that they name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stages.jobs.engines.engine import Engine, Work

NAMES = ("here", "ray", "slurm")
WORKER_BYTES = 10**9
"""Memory of a worker with the default prior; 0.85 GB were seen."""
SUBMITTED = 64
"""Jobs of SLURM that wait or run at a time, unless their number is given."""

Name = Annotated[str, typer.Option("--engine", metavar="here|ray|slurm", help="What runs the jobs.")]
RayAddress = Annotated[
    str | None,
    typer.Option("--ray-address", help="Of a running cluster. Default: one of this machine", show_default=False),
]
Slurm = Annotated[
    str,
    typer.Option(
        "--slurm",
        metavar="NAME=VALUE,...",
        help="Parameters of sbatch: partition=gpu,time=30 (minutes); tasks=10: so many in one job of SLURM.",
    ),
]


def check(name: str) -> None:
    """Raise ``typer.BadParameter`` for a name that no engine has."""
    if name not in NAMES:
        raise typer.BadParameter(f"choose one of: {', '.join(NAMES)}", param_hint="--engine")


def engine_of(
    name: str, do: Work, folder: Path, workers: int | None, device: str, ray_address: str | None, slurm: str
) -> Engine:
    """The engine of that name, whose workers ``do`` the tasks. Raises ``NotAvailable``, ``BadInput``."""
    if name == "ray":
        from stages.jobs.engines.ray import Ray

        return Ray(do, workers, ray_address)
    if name == "slurm":
        from stages.jobs.engines.slurm import Slurm, parse_options

        options = parse_options(slurm)
        return Slurm(do, workers or SUBMITTED * options.tasks, options, folder.absolute() / "slurm")
    from stages.card import count_cards
    from stages.jobs.engines.here import Here
    from stages.memory import free_bytes
    from stages.threads import choose

    cards = count_cards() if device == "auto" else 0
    cores = choose().count
    fitting = max(1, min(cores, free_bytes() // WORKER_BYTES))
    slots = workers or cards or fitting
    fork = sys.platform == "linux" and (device == "cpu" or (device == "auto" and not cards))
    return Here(do, slots, threads=max(1, cores // slots), cards=cards, fork=fork)
