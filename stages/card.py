"""What there is for a graphics card on this machine, and the line to type where it does not fit together.

Four things must agree: the card's driver, the CUDA that torch was built for, the toolkit (nvcc) that compiles gsplat's
kernels, and the C++ compiler that nvcc calls. Each says its version; nothing is compiled here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from stages.errors import NotAvailable

WHEELS = ((13, 0), (12, 8), (12, 6))
"""Versions of CUDA for which PyTorch's index had wheels of torch 2.9; others of the same major version run too."""
INDEX = "https://download.pytorch.org/whl"
SECONDS = 20.0
"""A tool that has not answered by then is taken as not there."""
Version = tuple[int, int]


def count_cards() -> int:
    """How many cards torch sees. One built for processors alone sees none, and is not imported to ask it."""
    if version("torch").endswith("+cpu"):
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def said_by(*line: str) -> str | None:
    """What a tool prints; None where it is not there, fails or hangs."""
    found = shutil.which(line[0])
    if found is None:
        return None
    try:
        done = subprocess.run(
            [found, *line[1:]], capture_output=True, text=True, errors="replace", check=True, timeout=SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def version_in(text: str | None, before: str = "") -> Version | None:
    """The first "12.8" in ``text`` that stands behind ``before``."""
    found = re.search(before + r"(\d+)\.(\d+)", text or "")
    return None if found is None else (int(found[1]), int(found[2]))


def written(version: Version) -> str:
    """ "12.8" of (12, 8)."""
    return f"{version[0]}.{version[1]}"


def driver() -> str:
    """The driver, its cards, and the newest CUDA that it runs.

    Raises:
        NotAvailable: there is none that answers.
    """
    cards = said_by("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    if not cards or not cards.strip():
        raise NotAvailable("nvidia-smi is not there or finds no card", "Install NVIDIA's driver: nvidia.com/drivers")
    newest = driver_cuda()
    return f"{'; '.join(cards.strip().splitlines())}" + (f", up to CUDA {written(newest)}" if newest else "")


def driver_cuda() -> Version | None:
    """The newest CUDA that the driver runs; None where there is no driver."""
    return version_in(said_by("nvidia-smi"), r"CUDA Version:\s*")


def cuda() -> str:
    """The card that torch uses.

    Raises:
        NotAvailable: torch sees none; the hint says why, as far as driver and torch tell, and what to type.
    """
    import torch

    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        return f"{card.name}, {card.total_memory / 2**30:.0f} GiB, torch {torch.__version__}, CUDA {torch.version.cuda}"
    built = version_in(torch.version.cuda)
    what = f"torch {torch.__version__} " + (f"for CUDA {written(built)} " if built else "has no CUDA, and ")
    raise NotAvailable(f"{what}finds no device", torch_line(built, driver_cuda()))


def torch_line(built: Version | None, runs: Version | None) -> str:
    """What to type so that torch, ``built`` for a version of CUDA or for none, uses a card whose driver ``runs`` up to
    another."""
    if runs is None:
        if built is None:
            return "Needs an NVIDIA card, its driver, and then torch with CUDA from PyTorch's index."
        return "Install NVIDIA's driver: nvidia.com/drivers; or work on the CPU: --device cpu"
    if built is not None and built[0] <= runs[0]:
        return "Look whether the card is hidden or in another container: echo $CUDA_VISIBLE_DEVICES; nvidia-smi"
    fitting = [version for version in WHEELS if version[0] < runs[0] or version <= runs]
    if not fitting:
        return f"Install a newer driver, for CUDA {written(WHEELS[-1])} at least: nvidia.com/drivers"
    wheel = "cu{}{}".format(*fitting[0])
    return f"pip install --force-reinstall --index-url {INDEX}/{wheel} torch"


def nvcc() -> str:
    """The toolkit's compiler, and its version.

    Raises:
        NotAvailable: it is not there, or of another major version than torch's CUDA, which gsplat's build refuses.
    """
    import torch

    home = os.environ.get("CUDA_HOME")
    found = shutil.which("nvcc") or (shutil.which("nvcc", path=str(Path(home) / "bin")) if home else None)
    built = version_in(torch.version.cuda)
    if found is None:
        raise NotAvailable("not found", toolkit_line(built))
    version = version_in(said_by(found, "--version"), r"release ")
    if version is None:
        raise NotAvailable(f"{found} does not say its version", toolkit_line(built))
    if built is not None and version[0] != built[0]:
        raise NotAvailable(f"{found} is of CUDA {written(version)}, torch of {written(built)}", toolkit_line(built))
    return f"{found}, CUDA {written(version)}"


def toolkit_line(built: Version | None) -> str:
    """What to type for the toolkit that belongs to a torch ``built`` for that CUDA."""
    if built is None:
        return "Needed with a card only: first torch with CUDA, see cuda."
    dashed, dotted = f"{built[0]}-{built[1]}", written(built)
    return (
        f"apt-get install cuda-toolkit-{dashed} (from NVIDIA's repository), or conda install -c nvidia "
        f"cuda-toolkit={dotted}; then: export CUDA_HOME=/usr/local/cuda-{dotted}"
    )


def compiler() -> str:
    """The C++ compiler that nvcc calls.

    Raises:
        NotAvailable: there is none.
    """
    name = os.environ.get("CXX") or ("cl" if os.name == "nt" else "g++")
    if shutil.which(name) is None:
        hint = "Install Visual Studio's build tools." if os.name == "nt" else "apt-get install g++"
        raise NotAvailable(f"{name} is not there", hint)
    said = (said_by(name, "--version") or "").strip().splitlines()
    return said[0] if said else name


def kernels() -> str:
    """Where gsplat's kernels come from.

    Raises:
        NotAvailable: there is no gsplat, or its wheel has none and there is nothing to compile them with.
    """
    if find_spec("gsplat") is None:
        raise NotAvailable("gsplat is not installed", "pip install gsplat")
    if find_spec("gsplat.csrc") is not None:
        return "compiled, in its wheel"
    try:
        nvcc()
        compiler()
    except NotAvailable as error:
        raise NotAvailable(f"not in its wheel, and nothing to compile them with ({error.what})", error.hint) from None
    if shutil.which("ninja") is None:
        raise NotAvailable("not in its wheel, and no ninja to compile them with", "pip install ninja")
    return "compiled when they are first used, which takes minutes"
