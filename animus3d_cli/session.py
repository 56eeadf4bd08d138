"""What every command does around its stage: find the run, hold its lock, choose the device, draw the events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from animus3d_cli.console import Console
    from stages.run_dir import RunDir


@contextmanager
def session(
    command: str,
    run: Path | None,
    *,
    asset: Path | None = None,
    start_from: Path | None = None,
    force: bool = False,
    must_exist: bool = False,
    tensorboard: bool = False,
) -> Iterator[tuple[RunDir, Console]]:
    """The locked run directory and the console of one command.

    ``asset`` is taken over as ``reconstruct`` would, if it is given; ``start_from`` copies another run's earlier
    stages. With ``must_exist`` a run that is not there is reported instead of created, with ``tensorboard`` the stage's
    events go into ``RUN/tensorboard/COMMAND`` too.
    """
    from animus3d_cli.console import Console
    from stages.errors import MissingStage
    from stages.run_dir import RunDir, resolve_run_path

    path = resolve_run_path(run)
    if must_exist and not path.is_dir() and asset is None and start_from is None:
        raise MissingStage(
            f"There is no run directory {path}.", "Run first: animus3d reconstruct FILE, or give --run DIR."
        )
    run_dir, console = RunDir(path), Console()
    log = None
    if tensorboard:
        from stages.media.tensorboard import TensorBoardLog

        log = TensorBoardLog(path / "tensorboard" / command, command)
        console.follow(log)
    try:
        with run_dir.lock(command, console):
            if start_from is not None:
                run_dir.copy_from(RunDir(start_from), before=command)
            if asset is not None:
                from stages.reconstruct import PRESETS
                from stages.reconstruct import run as reconstruct

                reconstruct(run_dir, PRESETS["default"], console, file=asset, force=force)
            yield run_dir, console
    finally:
        console.close()
        if log is not None:
            log.close()


def preset_for(preset: str | None, prior: str | None) -> str:
    """The preset that was asked for, or the one that suits the prior."""
    if prior == "exact-views":
        return preset or "video"
    if preset is not None or prior is None or prior == "points":
        return preset or "default"
    from stages.priors.find import preset_of

    return preset_of(prior)


def objective_preset(objective: str | None, prior: str | None) -> str | None:
    """The preset of ``distill`` with which a prior is asked for an ``objective`` that is not its usual one; None where
    that of the prior will do.

    Raises:
        BadInput: there is no such objective, or the prior cannot serve it.
    """
    from stages.errors import BadInput
    from stages.priors.find import is_points_kind

    if objective not in (None, "match", "msd", "sds"):
        raise BadInput(f"There is no objective {objective!r}.", "Choose one of: match, msd, sds.")
    sees_points = prior is None or is_points_kind(prior)
    if objective == "match" and not sees_points:
        raise BadInput(f"The prior {prior!r} samples no paths to match.", "Take --prior points, or --objective msd.")
    return "points-msd" if sees_points and objective in ("msd", "sds") else None


def resolve_device(name: str) -> str:
    """ "auto" becomes cuda where there is one, else cpu; "cuda:1" is the second card.

    Raises:
        NotAvailable: a card was asked for that is not there.
        BadInput: any other name.
    """
    import torch

    from stages.errors import BadInput, NotAvailable

    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if cards else "cpu"
    if name == "cpu":
        return name
    kind, colon, number = name.partition(":")
    if kind != "cuda" or (colon and not number.isdecimal()):
        raise BadInput(f"There is no device {name!r}.", "Use auto, cpu, cuda, or cuda:1 for the second card.")
    if not cards:
        raise NotAvailable("There is no CUDA device here.", "Use --device cpu.")
    if colon and int(number) >= cards:
        last = f"cuda:0 to cuda:{cards - 1}" if cards > 1 else "cuda:0"
        raise NotAvailable(f"There is no device {name} here.", f"There is {last}.")
    return f"cuda:{int(number)}" if colon else name  # torch takes no "cuda:01"
