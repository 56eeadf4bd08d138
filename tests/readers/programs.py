"""Other people's programs, each in a process of its own: what it says of a file, or how to install it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PACKAGES = HERE / "node_modules"
BLENDER = "ANIMUS3D_BLENDER_PYTHON"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LONGEST = 300


class NotInstalled(Exception):
    """A reader that is not here; says the line that installs it."""


def node(script: str, *arguments: object, package: str) -> Any:
    """What ``js/SCRIPT``, which needs the npm ``package``, says: one JSON."""
    return json.loads(_said([*_node(package), str(HERE / "js" / script), *map(str, arguments)]))


def _node(package: str) -> list[str]:
    program = shutil.which("node")
    if program is None:
        raise NotInstalled("needs Node 20 or newer")
    if not (PACKAGES / package).is_dir():
        raise NotInstalled("run: npm ci --ignore-scripts --prefix tests/readers")
    return [program]


def splat_transform(source: Path, target: Path) -> None:
    """PlayCanvas' converter from one splat format to another, on the CPU."""
    tool = PACKAGES / "@playcanvas" / "splat-transform" / "bin" / "cli.mjs"
    _said([*_node("@playcanvas/splat-transform"), str(tool), "-q", "-w", "-g", "cpu", str(source), str(target)])


def npm_version(package: str) -> str:
    """Of a package that is installed."""
    return str(json.loads((PACKAGES / package / "package.json").read_text())["version"])


def blender(script: str, *arguments: object) -> Any:
    """What ``blender/SCRIPT`` says, run by a Python that has ``bpy``."""
    said = _said([_blender(), str(HERE / "blender" / script), *map(str, arguments)])
    return json.loads(next(line for line in said.splitlines() if line.startswith("{")))  # Blender prints lines too


def blender_version() -> str:
    """Of ``bpy``."""
    said = _said([_blender(), "-c", "import bpy; print('bpy', bpy.app.version_string)"])
    return next(line for line in said.splitlines() if line.startswith("bpy")).split()[1]


def _blender() -> str:
    python = os.environ.get(BLENDER)
    if not python:
        raise NotInstalled(f"run: python3.11 -m venv V; V/bin/pip install bpy==5.0.1; export {BLENDER}=V/bin/python")
    return python


def browser() -> str:
    """The path of a Chromium."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise NotInstalled(f"needs one of: {', '.join(BROWSERS)}")
    return found


def _said(command: list[str]) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)}: {ended.stderr[-2000:]}")
    return ended.stdout
