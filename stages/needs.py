"""What the stages need of the main memory, estimated before their first step.

A need is a sum: what the stage takes whatever the asset is, what it takes for each byte of the asset's file and for
each Gaussian in each frame that it holds at once, the prior's weights, and pictures that are kept. Measured by ``python
-m tests.bench.bench_needs`` (results/needs.json) and rounded up. It is about the CPU: on a card moved Gaussians and
weights lie there, and a card that is full is told as such (docs/systems.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stages.gaussians.formats.ply_file import ply_elements
from stages.memory import Knob, check_memory
from stages.priors.find import EMBEDDED, EMBEDDED_PIPELINE, FORMER_NAMES, find_prior, read_index
from stages.run_dir import RunDir
from stages.run_dir.layout import FIT, StageLayout

MB, FLOAT = 1e6, 4
WEIGHTS = 1.3
"""Of a published model's files: they are read part by part, and a step needs more. A low estimate."""
AT_ONCE, MEANWHILE = 8, 7.0
"""Frames that ``render`` draws at a time, and how many more pictures as large it takes for each of them."""
SMALLEST, SHORTEST, NARROWEST = 500, 2, 64
"""Gaussians, frames and pixels with which a result can still be told for what it is."""
THINNER = "A smaller asset fits: reconstruct --min-opacity, --max-size, --crop or --largest drop Gaussians."


@dataclass(frozen=True)
class Need:
    """Of one stage: megabytes, bytes for each byte of the asset's file, bytes for each Gaussian in each frame."""

    fixed: float
    asset: float = 0.0
    placed: float = 0.0


NEEDS = {
    "reconstruct": Need(110, 5.0),
    "rig": Need(200, 5.0),
    "sample": Need(230, 4.0),
    "fit-lora": Need(300, 4.0, 250),
    "distill": Need(300, 8.0, 280),
    "refine": Need(380, 6.0, 100),
    "track": Need(400, 4.0),
    "render": Need(70, 5.0, 400),
    "export": Need(110, 14.0, 400),
    "eval": Need(450, 5.0, 350),
}
"""Command -> what it needs."""

PHOTOS = Need(230, 2.0 * 4 * FLOAT, 3000)
"""Of ``reconstruct`` from photos: "asset" is a pixel of all photos, of four values."""

VIDEO = {"sample": 100.0, "fit-lora": 1200.0, "distill": 250.0, "refine": 250.0}
"""Command -> how many megabytes more it needs with a prior of videos of this project's own."""

UNPACKED = {
    ".splat": 1.8, ".ksplat": 3.0, ".spz": 6.0, ".sog": 8.0, ".compressed.ply": 4.0, ".glb": 8.0, ".gltf": 8.0,
    ".obj": 4.0,
}  # fmt: skip
"""Suffix -> how much larger the asset is than such a file; others are as large."""


@dataclass(frozen=True)
class Asset:
    """The asset of a run, as far as its file's head tells it: bytes, and Gaussians."""

    bytes: int
    count: int

    @staticmethod
    def of(run: RunDir) -> Asset:
        """Nothing where there is none: the stage says so itself."""
        path = run.canonical_ply
        if not path.is_file():
            return EMPTY
        return Asset(path.stat().st_size, ply_elements(path).get("vertex", (0, []))[0])

    def needed(self, command: str, placed: float = 0.0) -> float:
        """Bytes that ``command`` takes with ``placed`` Gaussians, each frame's counted."""
        need = NEEDS[command]
        return MB * need.fixed + need.asset * self.bytes + need.placed * placed


EMPTY = Asset(0, 0)


def require(
    run: RunDir,
    stage: StageLayout,
    *,
    force: bool,
    most: int | None = None,
    frames: int = 1,
    prior: str = "",
    device: str = "cpu",
) -> None:
    """Nothing where ``stage`` fits into what is left of the memory, or has nothing to do.

    ``most`` is its setting ``max_gaussians``, where it moves a stand-in of the asset, and ``frames`` are those in which
    it does; ``prior`` and ``device`` are those of its settings.

    Raises:
        NotAvailable: it does not fit; with the number that would.
    """
    if run.stage(stage.folder).is_complete() and not force:
        return
    asset, host = Asset.of(run), device == "cpu"
    weights = _weights(prior, stage.command) if host else 0.0

    def needed(gaussians: int) -> float:
        return asset.needed(stage.command, frames * gaussians if host else 0) + weights

    moved = min(most or 0, asset.count)
    knobs = [Knob("--set max_gaussians={}".format, moved, needed, SMALLEST)] if most else []
    check_memory(stage.command, needed(moved), knobs, least=EMPTY.needed(stage.command) + weights, smaller=THINNER)


def require_frames(run: RunDir, command: str, frames: int, option: str = "--frames {}") -> None:
    """The same of a command that holds the whole asset in ``frames`` at once; ``option`` says how there are fewer."""
    asset = Asset.of(run)

    def needed(count: int) -> float:
        return asset.needed(command, count * asset.count)

    knob = Knob(option.format, frames, needed, SHORTEST)
    check_memory(command, needed(frames), [knob], least=EMPTY.needed(command), smaller=THINNER)


def require_pictures(run: RunDir, frames: int, width: int, height: int, values: int) -> None:
    """The same of ``render``, which keeps ``frames`` pictures, so many values of each pixel."""
    asset = Asset.of(run)

    def needed(count: int, wide: int) -> float:
        at_once = min(count, AT_ONCE)
        picture = FLOAT * values * wide * wide * height / width
        return asset.needed("render", at_once * asset.count) + (1.05 * count + MEANWHILE * at_once) * picture

    def size(wide: int) -> str:
        return f"--size {wide}x{max(1, wide * height // width)}"

    knobs = [
        Knob(size, width, lambda wide: needed(frames, wide), NARROWEST),
        Knob("--frames {}".format, frames, lambda count: needed(count, width), SHORTEST),
    ]
    check_memory("render", needed(frames, width), knobs, least=EMPTY.needed("render"), smaller=THINNER)


def require_photos(run: RunDir, photos: int, side: int, gaussians: int, *, force: bool) -> None:
    """The same of ``reconstruct`` from so many photos, of no more than ``side`` pixels a side."""
    if run.stage(FIT.folder).is_complete() and not force:
        return

    def needed(size: int, count: int) -> float:
        return MB * PHOTOS.fixed + PHOTOS.asset * photos * size * size + PHOTOS.placed * count

    knobs = [
        Knob("--set size_px={}".format, side, lambda size: needed(size, gaussians), NARROWEST),
        Knob("--num-gaussians {}".format, gaussians, lambda count: needed(side, count), SMALLEST),
    ]
    check_memory("reconstruct", needed(side, gaussians), knobs, least=MB * PHOTOS.fixed, smaller="Take fewer photos.")


def require_file(path: Path) -> None:
    """The same of ``reconstruct``, which reads ``path``."""
    if not path.is_file():  # it says so itself
        return
    larger = next((times for suffix, times in UNPACKED.items() if path.name.lower().endswith(suffix)), 1.0)
    read = Asset(round(larger * path.stat().st_size), 0)
    least = EMPTY.needed("reconstruct")
    check_memory("reconstruct", read.needed("reconstruct"), least=least, smaller="Take a smaller file.")


def _weights(prior: str, command: str) -> float:
    """Bytes that a prior takes beside what ``NEEDS`` has for that of points; nothing for what only the hub has."""
    folder = Path(prior)
    if FORMER_NAMES.get(prior, prior) == EMBEDDED:
        return MB * VIDEO.get(command, 0.0)
    if not prior or not folder.is_dir():
        return 0.0
    folder = find_prior(prior)
    if read_index(folder).get("_class_name") == EMBEDDED_PIPELINE:
        return MB * VIDEO.get(command, 0.0)
    return WEIGHTS * sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
