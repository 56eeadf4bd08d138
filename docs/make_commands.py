"""Write docs/commands.md from the command line's own help: ``python docs/make_commands.py``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

OUT = Path(__file__).parent / "commands.md"
HEAD = "# Commands\n\nFrom the program's own help (`python docs/make_commands.py` writes this page).\n"


def helped(*words: str) -> str:
    """What ``animus3d WORDS --help`` prints, 100 columns wide."""
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "animus3d_cli", *words, "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=OUT.parent.parent)
    shown = done.stdout.replace("python -m animus3d_cli", "animus3d")
    return "\n".join(line.rstrip() for line in shown.strip().splitlines())


def page() -> str:
    """The whole page."""
    main = helped()
    names = re.findall(r"^[│|\s]{1,4}([a-z][a-z-]+) {2,}\S", main.partition("Commands")[2], flags=re.MULTILINE)
    parts = [HEAD, f"```text\n{main}\n```\n"]
    parts += [f"## {name}\n\n```text\n{helped(name)}\n```\n" for name in names]
    return "\n".join(parts)


if __name__ == "__main__":
    OUT.write_text(page(), encoding="utf-8")
    print(OUT)
