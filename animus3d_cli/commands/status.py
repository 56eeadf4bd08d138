"""animus3d status"""

from __future__ import annotations

from animus3d_cli import options


def command(folder: options.RunArgument = None, run: options.Run = None, as_json: options.Json = False) -> None:
    """Show how far a run is, or a batch, and what to type next.

    Each stage: state, steps, time, size, the settings that differ from the defaults and what it was made from. Of a
    batch: how many jobs are done, running, waiting, and why some have failed. Can be asked at any moment, also while
    another command is working on the run.

    Reads the run directory, writes nothing.

    Example: animus3d status
    """
    import json
    from dataclasses import asdict

    from animus3d_cli.console import Console
    from stages.jobs.folder import BatchFolder
    from stages.run_dir import RunDir, resolve_run_path
    from stages.status import run as status

    if BatchFolder.is_one(resolve_run_path(folder or run)):
        from animus3d_cli.batch_screen import show_status
        from stages.jobs.standing import status_of

        show_status(status_of(resolve_run_path(folder or run)), as_json=as_json)
        return
    found = status(RunDir(resolve_run_path(folder or run)))
    if as_json:
        print(json.dumps(asdict(found), indent=2))
    else:
        Console().status(found)
