"""The built wheel in fresh environments: python -m tests.campaigns.wheel

1. Build it; look whether all that the program reads is in it, and nothing of the tests.
2. On every Python that it says it runs on: install it with the few packages that help and doctor need, compile every
   file, ask every command for its help, run doctor. No torch there: of some Pythons it is gigabytes to fetch.
3. Ask a resolver (uv, on metadata alone) whether all that it depends on is to be had for each Python and each system,
   with the pinned versions and without.
4. With --full: all of it installed on the Python that runs this, and a splat animated outside the checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from tests.bench.record import finish

ROOT = Path(__file__).parent.parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
SYSTEMS = {
    "linux": "x86_64-unknown-linux-gnu",
    "linux-arm": "aarch64-unknown-linux-gnu",
    "windows": "x86_64-pc-windows-msvc",
    "macos-arm": "aarch64-apple-darwin",
    "macos-intel": "x86_64-apple-darwin",
}
LIGHT = ("typer", "rich", "filelock", "numpy", "plyfile", "safetensors", "jinja2", "pillow")
"""What help and doctor need, and what is read without torch."""
NEEDED = (
    "stages/_assets/prior_points/model_index.json",
    "stages/_assets/prior/model_index.json",
    "stages/_assets/facing/weights.safetensors",
    "stages/_assets/words/lexicon.json",
    "stages/_assets/splats/deer.ply",
    "stages/exporting/player/page.html",
    "stages/exporting/player/style.css",
    "stages/exporting/player/engine.js",
    "stages/reporting/report.html",
    "stages/py.typed",
    "animus3d_cli/py.typed",
)
COMMANDS = (
    "animate", "reconstruct", "fit-lora", "rig", "sample", "still", "distill", "refine", "track", "render", "export",
    "eval", "report", "prefer", "ablate", "status", "view", "doctor", "priors", "train-prior",
)  # fmt: skip


def run(*line: object, cwd: Path | None = None, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run a program; stops the campaign where it ends otherwise than with ``code`` (None: with anything)."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in line], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if code is not None and done.returncode != code:
        said = done.stdout[-2000:] + done.stderr[-4000:]
        raise SystemExit(f"{' '.join(map(str, line))}: exit {done.returncode}\n{said}")
    return done


def built(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The wheel, and what is in it."""
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    [wheel] = folder.glob("animus3d-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert not [name for name in names if name.startswith("tests/")], "tests are in the wheel"
    assert not (missing := [name for name in NEEDED if name not in names]), f"not in the wheel: {missing}"
    return wheel, {"file": wheel.name, "megabytes": round(wheel.stat().st_size / 1e6, 1), "files": len(names)}


def python_of(version: str) -> str | None:
    """An interpreter of that version: on the PATH, or pyenv's."""
    roots = sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/{version}.*/bin/python"))
    for candidate in (*map(str, roots), shutil.which(f"python{version}")):
        if candidate and run(candidate, "-c", "", code=None).returncode == 0:
            return candidate
    return None


def environment(python: str, folder: Path) -> Path:
    """The folder of programs of a new environment."""
    run(python, "-m", "venv", folder)
    return folder / ("Scripts" if os.name == "nt" else "bin")


def light(version: str, wheel: Path, folder: Path) -> dict[str, Any]:
    """Step 2 on one Python."""
    python = python_of(version)
    if python is None:
        return {"ran": False, "why": "no such Python here"}
    programs = environment(python, folder)
    run(programs / "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", *LIGHT)
    run(programs / "pip", "install", "--quiet", "--no-deps", wheel)
    place = run(programs / "python", "-c", "import stages; print(list(stages.__path__)[0])", cwd=folder).stdout.strip()
    run(programs / "python", "-m", "compileall", "-q", "-f", place, Path(place).parent / "animus3d_cli")
    for line in ([], *([name] for name in COMMANDS)):
        said = run(programs / "animus3d", *line, "--help", cwd=folder).stdout
        assert "Usage" in said, line
    doctor = run(programs / "animus3d", "doctor", "--json", cwd=folder, code=9)
    findings = {one["name"]: one["state"] for one in json.loads(doctor.stdout)}
    assert findings["python"] == "ok" and findings["torch"] == "missing"
    return {
        "ran": True,
        "python": run(programs / "python", "--version").stdout.split()[1],
        "commands whose help was asked for": len(COMMANDS),
        "doctor": f"exit 9, {len(findings)} findings, torch named as missing",
    }


def resolved(uv: Path, version: str, system: str, folder: Path, *, pinned: bool) -> str:
    """ "yes", or why the dependencies of the wheel are not all to be had as wheels; on metadata, nothing is fetched."""
    line: list[object] = [uv, "pip", "compile", ROOT / "pyproject.toml", "--quiet", "--only-binary", ":all:"]
    line += ["--python-version", version, "--python-platform", SYSTEMS[system], "-o", folder / "resolved.txt"]
    if pinned:
        line += ["-c", ROOT / "constraints.txt"]
    (folder / "resolved.txt").unlink(missing_ok=True)
    done = run(*line, cwd=folder, code=None)
    if done.returncode == 0:
        return "yes"
    said = " ".join(done.stderr.split())
    return said[:400]


def full(wheel: Path, folder: Path) -> dict[str, Any]:
    """Step 4."""
    programs = environment(sys.executable, folder)
    run(programs / "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel)
    shutil.copy(ROOT / "assets" / "splats" / "bird.ply", folder)
    run(programs / "animus3d", "animate", "bird.ply", "a flying bird", "-o", "bird.mp4", cwd=folder)
    run(programs / "animus3d", "doctor", cwd=folder)
    packages = run(programs / "pip", "list", "--format", "json").stdout
    return {
        "python": run(programs / "python", "--version").stdout.split()[1],
        "animate": f"exit 0, a video of {(folder / 'bird.mp4').stat().st_size} bytes",
        "doctor": "exit 0",
        "packages": len(json.loads(packages)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="install everything, torch too, and animate a splat")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        wheel, contents = built(folder)
        result: dict[str, Any] = {"wheel": contents}
        result["without torch"] = {version: light(version, wheel, folder / f"light{version}") for version in PYTHONS}
        programs = environment(sys.executable, folder / "resolver")
        run(programs / "pip", "install", "--quiet", "uv")
        result["dependencies to be had as wheels"] = {
            f"{version}, {system}, {'pinned' if pinned else 'as pyproject says'}": resolved(
                programs / "uv", version, system, folder, pinned=pinned
            )
            for version in PYTHONS
            for system in SYSTEMS
            for pinned in (True, False)
        }
        result["everything installed"] = full(wheel, folder / "full") if wanted.full else "not run: --full"
        finish("campaign_wheel", result, "python -m tests.campaigns.wheel" + (" --full" if wanted.full else ""))


if __name__ == "__main__":
    main()
