"""What Windows lacks is not needed: modules of POSIX at import, handles that it refuses, names that it forbids, and
letters that its consoles do not know. This runs on whatever system the tests run on, with those parts hidden."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stages.ablation.tasks import Task
from stages.exporting.sequence import numbered
from stages.files import replacing
from tests.priors.points.tiny import save_tiny

ROOT = Path(__file__).parent.parent
HIDDEN = """
import os, sys
import concurrent.futures.process, multiprocessing.util, subprocess, psutil  # these have a part for each system
try:
    import fcntl
except ImportError:
    fcntl = None
else:
    real = os.fsync
    def fsync(handle):  # as Windows has it: for files that are open for writing
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(9, "Bad file descriptor")
        real(handle)
    os.fsync = fsync
POSIX = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "readline", "syslog", "crypt", "nis", "posix")
"""
FOR_US = """
import builtins
real_import = builtins.__import__
def guarded(name, globals=None, *rest, **more):
    ours = (globals or {}).get("__name__", "").split(".")[0] in ("stages", "animus3d_cli")
    if ours and name.split(".")[0] in POSIX:
        raise ModuleNotFoundError(f"no {name} here", name=name)
    return real_import(name, globals, *rest, **more)
builtins.__import__ = guarded
"""
FOR_ALL = """
sys.modules.update(dict.fromkeys(POSIX[:-1]))
for name in ("fork", "forkpty", "sysconf", "sched_getaffinity", "geteuid", "getuid", "statvfs", "mkfifo",
             "killpg", "setsid", "getloadavg", "O_DIRECTORY", "O_NOFOLLOW"):
    if hasattr(os, name):
        delattr(os, name)
"""
IMPORTS = """
import importlib, pkgutil, stages, animus3d_cli
count = 0
for package in (stages, animus3d_cli):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if found.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(found.name)
        except ModuleNotFoundError as error:  # a package of an extra
            assert error.name.split(".")[0] in ("newton", "warp", "viser", "pxr", "lemminflect"), error
        count += 1
print(count)
"""
LINES = """
from animus3d_cli.main import main
for line in {lines!r}:
    sys.argv = ["animus3d", *line]
    main()
"""


def hidden(code: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run ``code`` where files are put on the disk as on Windows."""
    return subprocess.run(
        [sys.executable, "-c", HIDDEN + code], cwd=ROOT, env=os.environ | environment, capture_output=True, check=False
    )


def test_every_module_is_imported_without_posix() -> None:
    """Its modules are hidden from ours; what others import is made for the system it stands on."""
    done = hidden(FOR_US + IMPORTS)
    assert done.returncode == 0, done.stderr.decode()
    assert int(done.stdout.split()[-1]) > 300


def test_a_splat_is_read_moved_and_filmed_without_posix(tmp_path: Path) -> None:
    """Here the modules, and what POSIX alone has in ``os``, are hidden from everything."""
    run, prior = str(tmp_path / "run"), save_tiny(tmp_path / "prior")
    lines = [
        ["reconstruct", "assets/splats/bird.ply", "--run", run],
        ["distill", "--prompt", "a walking bird", "--prior", prior, "--steps", "2", "--run", run],
        ["render", str(tmp_path / "out.mp4"), "--frames", "2", "--size", "32", "--run", run],
    ]
    done = hidden(FOR_ALL + LINES.format(lines=lines))
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "out.mp4").stat().st_size > 0


def legal(name: str) -> bool:
    """Whether Windows lets a file be called that."""
    plain = not re.search(r'[<>:"/\\\\|?*\x00-\x1f]', name) and name == name.rstrip(". ") and name != ""
    return plain and not re.fullmatch(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", name, re.IGNORECASE)


@pytest.mark.parametrize(
    "prompt", ["a deer: it jumps?", 'he says "hi" | dances...', "con", "naïve Ünïcode", "鹿が跳ぶ", "x" * 300, "../up "]
)
def test_folders_of_tasks_have_names_that_windows_allows(prompt: str) -> None:
    for asset in ("deer.ply", "con.ply", "some where/My Deer.glb"):
        name = Task(asset, prompt).name
        assert legal(name) and len(name) < 100


@pytest.mark.parametrize("out", ["clip.ply", "clip.compressed.ply", "aux_frames.splat"])
def test_numbered_and_temporary_files_have_names_that_windows_allows(out: str, tmp_path: Path) -> None:
    path = numbered(tmp_path / out, 7)
    assert legal(path.name)
    with replacing(path) as temporary:
        assert legal(temporary.name) and temporary.parent == path.parent
        temporary.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_consoles_that_know_few_letters_get_something_to_read(encoding: str, tmp_path: Path) -> None:
    """Names and sentences that they cannot show come as escapes, and nothing fails."""
    run = tmp_path / "läuft_鹿"
    lines = [["reconstruct", "assets/splats/bird.ply", "--run", str(run)], ["status", str(run)]]
    done = hidden(FOR_ALL + LINES.format(lines=lines), PYTHONIOENCODING=encoding, COLUMNS="200")
    said = done.stdout.decode(encoding)
    assert done.returncode == 0, done.stderr.decode(encoding)
    assert "canonical.ply" in said and (r"\u9e7f" in said) == (encoding != "utf-8")
