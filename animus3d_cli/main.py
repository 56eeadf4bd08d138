"""The Typer app: commands in pipeline order, and errors turned into one line and an exit code.

Answering ``--help`` imports neither torch nor a stage: commands import what they run when they run.
"""

from __future__ import annotations

import atexit
import errno
import gc
import os
import signal
import sys
import traceback
from io import TextIOWrapper
from types import FrameType
from typing import Annotated

import typer

from animus3d_cli.commands import (
    ablate,
    animate,
    batch,
    distill,
    doctor,
    evaluate,
    export,
    fit_lora,
    prefer,
    priors,
    reconstruct,
    refine,
    render,
    report,
    rig,
    sample,
    status,
    still,
    track,
    train_prior,
    view,
)
from stages.errors import AnimusError, CannotWrite, NotAvailable, first_line
from stages.threads import settle

INTERRUPTED = 130
VERBOSE = "--verbose"
NOT_WRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG)
"""What the system says when a disk is full or not ours, wherever a stage meets it."""
NO_MEMORY = "can't allocate memory"
"""What torch says of the main memory."""
LESS_MEMORY = (
    "Try --profile 24gb, smaller clips (--set size_px=PIXELS), or in distill and refine fewer Gaussians "
    "(--set max_gaussians=NUMBER)."
)
LESS_MAIN_MEMORY = (
    "Close other programs, or make it smaller: fewer --frames, a smaller --size, or in distill, refine and sample "
    "fewer Gaussians (--set max_gaussians=NUMBER)."
)

EPILOG = (
    "Exit codes: 0 success, 1 unexpected error, 2 usage, 3 bad input, 4 an earlier stage is missing, 5 the run holds "
    "other settings, 6 the run is in use, 7 cannot write, 8 damaged checkpoint, 9 not available here, 10 not finite, "
    "11 some jobs of a batch have failed, 130 interrupted."
)

app = typer.Typer(
    name="animus3d",
    help="Animate a static 3D asset, a Gaussian splat or a mesh, from a sentence.\n\n"
    "animate does it in one go. Stage by stage: reconstruct reads the asset, distill makes it move as the sentence "
    "says (after fit-lora, which learns how it stands still, where the objective compares with that), refine "
    "smooths the motion, render writes a video, export other files. Each reads and writes a run directory (--run, "
    "default ./run) and goes on where it was interrupted.\n\n"
    'Example: animus3d reconstruct goat.ply; animus3d distill --prompt "a walking goat"; animus3d render out.mp4',
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"animus3d {version('animus3d')}")
        except PackageNotFoundError:
            print("animus3d, not installed: run from its source")
        raise typer.Exit


@app.callback()
def common(
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show the traceback of an error; anywhere on the line.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of every command."""


app.command("animate")(animate.command)
app.command("reconstruct")(reconstruct.command)
app.command("fit-lora")(fit_lora.command)
app.command("rig")(rig.command)
app.command("sample")(sample.command)
app.command("still")(still.command)
app.command("distill")(distill.command)
app.command("refine")(refine.command)
app.command("track")(track.command)
app.command("render")(render.command)
app.command("export")(export.command)
app.command("eval")(evaluate.command)
app.command("report")(report.command)
app.command("prefer")(prefer.command)
app.command("ablate")(ablate.command)
app.command("batch")(batch.command)
app.command("status")(status.command)
app.command("view")(view.command)
app.command("doctor")(doctor.command)
app.command("priors")(priors.command)
app.command("train-prior")(train_prior.command)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point of ``animus3d``."""
    atexit.register(gc.freeze)  # else the interpreter, on its way out, looks through all that torch has made: 0.4 s
    signal.signal(signal.SIGTERM, _interrupt)
    for stream in (sys.stdout, sys.stderr):  # a terminal may not know the letters in a name: then as \xfc and the like
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    settle()
    arguments = [argument for argument in sys.argv[1:] if argument != VERBOSE]
    verbose = len(arguments) < len(sys.argv) - 1
    try:
        code = app(arguments, standalone_mode=False)  # typer returns the code of its Exit, also of an interruption
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        if code:
            sys.exit(code)
    except AnimusError as error:
        if verbose:
            traceback.print_exc()
        from animus3d_cli.console import print_error

        print_error(error)
        sys.exit(error.exit_code)
    except typer.Exit as exit_request:
        sys.exit(exit_request.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        print("animus3d: interrupted; the same command goes on from the last checkpoint.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        _exit_for(error, verbose)


def _exit_for(error: Exception, verbose: bool) -> None:
    """Usage errors keep click's message and code; anything else is unexpected and says how to see more."""
    show = getattr(error, "show", None)
    if callable(show):  # click's usage errors
        show()
        sys.exit(getattr(error, "exit_code", 2))
    if verbose:
        traceback.print_exc()
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        from animus3d_cli.console import print_error

        print_error(NotAvailable("The graphics card has too little memory for this.", LESS_MEMORY))
        sys.exit(NotAvailable.exit_code)
    if _memory_is_full(error):
        from animus3d_cli.console import print_error

        print_error(NotAvailable("There was too little memory for this.", LESS_MAIN_MEMORY))
        sys.exit(NotAvailable.exit_code)
    if isinstance(error, OSError) and error.errno in NOT_WRITABLE:
        print(f"animus3d: Cannot write {error.filename or 'an output'}: {first_line(error)}.", file=sys.stderr)
        sys.exit(CannotWrite.exit_code)
    more = "" if verbose else f" The same command with {VERBOSE} shows where."
    print(f"animus3d: unexpected {type(error).__name__}: {first_line(error)}.{more}", file=sys.stderr)
    sys.exit(1)


def _memory_is_full(error: BaseException) -> bool:
    """Whether ``error``, or what it came from, is the word of Python, numpy, torch or the system for that."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError) or NO_MEMORY in str(seen):
            return True
        if isinstance(seen, OSError) and seen.errno == errno.ENOMEM:
            return True
        seen = seen.__cause__ or seen.__context__
    return False


if __name__ == "__main__":
    main()
