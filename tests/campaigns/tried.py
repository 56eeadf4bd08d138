"""The stages that campaigns try: for each a place with what comes before, and the command itself, all of them small."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.campaigns.program import Program

TIMES = {"seconds", "finished", "created", "started"}
"""Keys of JSON files that hold times."""

LOCK = (".lock", ".lock.json", ".lock.soft")
"""Files that are about who works in a run, not about what it holds."""

POINTS = "--prompt walk --prior points --run run"
VIDEO = "--prior video --run run"
BONES = "--run run --motion skeleton --prompt walk --prior points --seconds 0.3"


@dataclass(frozen=True)
class Tried:
    """A command, and those that come before it in its place."""

    line: str
    before: tuple[str, ...] = ()
    slow: bool = False  # seconds rather than tenths of them: fewer tries


SPLAT = "reconstruct asset.ply --run run"
FOX = "reconstruct Fox.glb --num-gaussians 300 --run run"
RIG = "rig --max-bones 6 --run run"
DISTILL = f"distill {POINTS} --steps 6 --set checkpoint_every=2 --set preview_every=4 --seconds 0.5"
DISTILL_VIDEO = (
    f"distill --prompt walking {VIDEO} --steps 6 --set checkpoint_every=2 --set preview_every=0 "
    "--set spatial_resolution=6"
)
BONES_LINE = f"distill {BONES} --steps 4 --set checkpoint_every=2 --set preview_every=0"
STAGES: dict[str, Tried] = {
    "reconstruct a splat": Tried(SPLAT),
    "reconstruct a mesh": Tried(FOX),
    "reconstruct photos": Tried(
        "reconstruct photos --run run --num-gaussians 60 --steps 6 --set checkpoint_every=2 --set relocate_every=2 "
        "--set preview_every=4",
        slow=True,
    ),
    "rig": Tried(RIG, (FOX,)),
    "sample": Tried(f"sample {POINTS} --count 2 --set denoise_steps=3", (SPLAT,)),
    "fit-lora, points": Tried(
        "fit-lora --prior points --run run --steps 6 --set checkpoint_every=2 --set preview_every=4", (SPLAT,)
    ),
    "fit-lora, video": Tried(f"fit-lora {VIDEO} --steps 4 --set checkpoint_every=2", (SPLAT,)),
    "distill, points": Tried(DISTILL, (SPLAT,)),
    "distill, video": Tried(DISTILL_VIDEO, (SPLAT, f"fit-lora {VIDEO} --steps 1")),
    "distill, bones": Tried(BONES_LINE, (FOX, RIG)),
    "refine": Tried(
        f"refine {VIDEO} --steps 4 --set denoise_steps=2 --set checkpoint_every=2",
        (SPLAT, f"fit-lora {VIDEO} --steps 1", DISTILL_VIDEO),
    ),
    "track": Tried(
        "track --iterations 3 --set physics.knot_hz=24 --set checkpoint_every=1 --run run",
        (FOX, RIG, BONES_LINE),
        slow=True,
    ),
    "render": Tried("render --frames 3 --size 48 run/renders/out.mp4 --run run", (SPLAT, DISTILL)),
    "render pictures": Tried("render --frames 3 --size 48 shots/out.png --run run", (SPLAT, DISTILL)),
    "export a page": Tried("export --format html --frames 3 --out out.html --run run", (SPLAT, DISTILL)),
    "export splats": Tried("export --format ply-sequence --frames 3 --out seq/out.ply --run run", (SPLAT, DISTILL)),
    "export a mesh": Tried("export --format glb --skinned --out out.glb --run run", (FOX, RIG, BONES_LINE)),
    "eval": Tried("eval --run run --set size=32 --set num_views=2 --json metrics.json", (SPLAT, DISTILL)),
    "begin from a run": Tried(f"{DISTILL.replace('--run run', '--run new')} --from run", (SPLAT, DISTILL)),
}


def make_inputs(folder: Path) -> None:
    """What the commands read: a splat, a rigged mesh, photos, a prior of points and one of videos."""
    from stages.assets import asset_path
    from stages.gaussians.formats.ply import write_ply
    from tests.e2e.test_photos import write_capture
    from tests.gaussians.test_ply import splat
    from tests.priors.points.tiny import save_tiny
    from tests.priors.test_embedded import tiny_prior

    asset = splat(1, count=80)
    write_ply(folder / "asset.ply", replace(asset, log_scales=asset.log_scales - 3.0))
    shutil.copy(asset_path("rigged", "Fox.glb"), folder / "Fox.glb")
    write_capture(folder / "photos", alpha=True)
    save_tiny(folder / "points")
    tiny_prior().save(folder / "video")


class Bases:
    """Places where everything before a command is done: made once, then copied for every try."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program = program
        self.folder = folder
        self.made: dict[tuple[str, ...], Path] = {}

    def after(self, lines: tuple[str, ...]) -> Path:
        """A place in which ``lines`` have been run."""
        if lines not in self.made:
            before = self.after(lines[:-1]) if lines else None
            place = self.folder / f"base_{len(self.made)}"
            if before is not None:
                copy(before, place)
                self.program.must(lines[-1], place)
            else:
                place.mkdir(parents=True)
                make_inputs(place)
            self.made[lines] = place
        return self.made[lines]


def copy(source: Path, place: Path) -> None:
    """A copy of a place, in the place of what is there."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(source, place)


def contents(place: Path) -> dict[str, bytes]:
    """Every file of a place but those about locks, by its name; JSON without the keys that hold times."""
    found = {}
    for path in sorted(place.rglob("*")):
        if path.is_file() and path.name not in LOCK:
            data = path.read_bytes()
            if path.name in ("complete.json", "run.json"):
                with suppress(ValueError):  # it is damaged
                    data = json.dumps(timeless(json.loads(data)), sort_keys=True).encode()
            found[path.relative_to(place).as_posix()] = data
    return found


def timeless(value: Any) -> Any:
    """JSON without what holds a time, and without the seal over it."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in TIMES | {"seal"}}
    return value


def differences(expected: dict[str, bytes], found: dict[str, bytes]) -> list[str]:
    """What is not the same, a line a file."""
    return list(_differences(expected, found))


def _differences(expected: dict[str, bytes], found: dict[str, bytes]) -> Iterator[str]:
    for name in sorted({*expected, *found}):
        if name not in found:
            yield f"{name} is missing"
        elif name not in expected:
            yield f"{name} is left over"
        elif expected[name] != found[name]:
            yield f"{name} differs"
