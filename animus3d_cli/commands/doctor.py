"""animus3d doctor"""

from __future__ import annotations

from animus3d_cli import options


def command(as_json: options.Json = False) -> None:
    """Check what works on this machine and what is missing.

    Renders a splat with each rasterizer, writes videos, loads the embedded prior, and says how to get what is missing.
    Exit code 9 when something that a command needs does not work, 0 when only an optional thing is missing, such as
    CUDA.

    Reads nothing of a run, writes nothing.

    Example: animus3d doctor
    """
    import json
    from collections.abc import Iterator
    from dataclasses import asdict

    from animus3d_cli.console import Console
    from stages.doctor import Finding, works
    from stages.doctor import run as doctor
    from stages.errors import NotAvailable

    findings: list[Finding] = []

    def kept() -> Iterator[Finding]:
        for one in doctor():
            findings.append(one)
            yield one

    if as_json:
        print(json.dumps([asdict(one) for one in kept()], indent=2))
    else:
        Console().doctor(kept())
    failed = [one.name for one in findings if not works(one)]
    if failed:
        raise NotAvailable(
            f"Not every command works here: see {', '.join(failed)}.", "animus3d doctor says what to do."
        )
