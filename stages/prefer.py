"""prefer: a page that asks people which run they like best without telling them which is which, and the count.

    animus3d prefer msd/walk sds/walk msd/jump sds/jump --out page.html
    animus3d prefer --count preference-*.csv --key page.key.json

1. Put together runs of one asset and one prompt (and one seed): people compare these with each other.
2. Film them all alike: one camera, one distance, the same frames; nothing but the motion tells them apart.
3. Write the page, in which clips have random names, and its key, which says what they are.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stages.cameras import Camera
from stages.cameras.path import Framing, orbit_path
from stages.errors import BadInput, MissingStage
from stages.events import Finished, Progress, Report, Started, Wrote
from stages.files import read_json, replacing, write_json
from stages.media.excerpt import webp
from stages.media.video import write_mp4
from stages.moving.asset import MovingAsset, load_moving_asset
from stages.raster import Rasterizer, choose, render
from stages.reporting.page import ELSEWHERE, PAGES, fill, write_tables
from stages.reporting.record import check_runs, distinct_names, type_for
from stages.reporting.study import FIXED_LAST, QUESTIONS, Key, new_key, read_answers, read_key, shares_table
from stages.run_dir import RunDir
from stages.tables import Table

MOST_CLIPS = 6
"""Clips that people compare at once, at most."""


@dataclass(frozen=True, kw_only=True)
class PreferConfig:
    """Settings of ``prefer``: how the runs are filmed."""

    frames: int = 31
    fps: int = 16
    size: int = 384
    azimuth_deg: float = 35.0
    elevation_deg: float = 15.0
    fov_deg: float = 35.0
    raster: str | None = None
    device: str = "cpu"


PRESETS = {"default": PreferConfig()}


@dataclass(frozen=True)
class Scene:
    """Runs that are compared with each other: of one asset, with one prompt."""

    prompt: str
    paths: list[Path]
    assets: list[MovingAsset]


def run(paths: list[Path], config: PreferConfig, report: Report, *, out: Path) -> Path:
    """Write the page ``out`` and beside it its key, ``NAME.key.json``. Returns the key's path.

    Raises:
        BadInput: a folder is not a run or named twice, a run has nobody to be compared with, or too many; ``out`` is no
            name for a page, or has a key already, without which answers to that page could not be counted.
        MissingStage: a folder is not there, or has no motion.
        CannotWrite: an output cannot be written; what was there before is kept.
    """
    key_path = out.with_suffix(".key.json")
    if out.suffix.lower() not in PAGES:
        raise BadInput(f"{out} is not a name for a page.", "End it in .html.")
    if key_path.exists():
        raise BadInput(
            f"{key_path} is there already: answers to its page can only be counted with it.", "Choose another --out."
        )
    scenes = put_together(paths, config.device)
    key = new_key([(scene.prompt, distinct_names(scene.paths), scene.paths) for scene in scenes])
    rasterizer = choose(config.device, config.raster, report)
    report(Started("prefer", len(paths)))
    films: dict[str, bytes] = {}
    stills: list[bytes] = []
    for scene, names in zip(scenes, key.sets, strict=True):
        cameras = [camera.to(config.device) for camera in orbit_path(view_of(scene.assets, config), config.frames, 0.0)]
        rest = render(scene.assets[0].gaussians, cameras[:1], rasterizer, background=_white(config)).rgb[0]
        stills.append(webp(rest, config.size))
        for asset, name in zip(scene.assets, names.clips, strict=True):
            films[name] = film(asset, cameras, rasterizer, config)
            report(Progress(len(films)))
    report(Finished("prefer"))
    text = page(key, films, stills)
    with replacing(key_path, ELSEWHERE) as temporary_key, replacing(out, ELSEWHERE) as temporary:
        write_json(temporary_key, key.as_json())
        temporary.write_text(text, encoding="utf-8")
    report(Wrote(out, f"{len(scenes)} x {len(QUESTIONS)} questions, {len(text.encode()) / 1e6:.1f} MB: give this away"))
    report(Wrote(key_path, "which clip is which: keep this"))
    return key_path


def count(files: list[Path], key: Path, report: Report, *, tables: list[Path]) -> Table:
    """How often each run won, from ``files``, the CSVs that the page of ``key`` saved; also written to ``tables``.

    Raises:
        BadInput: a file cannot be read, is not of that page, or holds what the page never writes.
        CannotWrite: a table cannot be written; what was there before is kept.
    """
    table = shares_table(read_answers(files, read_key(key)))
    write_tables(table, tables, report)
    return table


def put_together(paths: list[Path], device: str) -> list[Scene]:
    """The runs by asset and prompt, in the order in which these are first met; where each seed has several runs, by
    seed too, so that ``ablate``'s variants are compared with the same luck."""
    check_runs(paths)
    together: dict[tuple[str, str], dict[Any, Scene]] = {}
    for path in paths:
        run = RunDir(path)
        if not run.stage("motion").is_complete():
            raise MissingStage(f"{path} has no motion yet.", "Run first: " + type_for('distill --prompt "..."', path))
        asset = load_moving_asset(run, "auto", device)
        settings = (read_json(path / "motion" / "config.json") or {}).get("settings", {})
        seeds = together.setdefault((run.asset_hash(), asset.prompt), {})
        scene = seeds.setdefault(settings.get("seed"), Scene(asset.prompt, [], []))
        scene.paths.append(path)
        scene.assets.append(asset)
    scenes = [scene for seeds in together.values() for scene in _by_seed(list(seeds.values()))]
    for scene in scenes:
        _check_size(scene)
    return scenes


def _by_seed(scenes: list[Scene]) -> list[Scene]:
    """The scenes as they are where each has several runs, else one of all."""
    if all(len(scene.paths) > 1 for scene in scenes):
        return scenes
    paths = [path for scene in scenes for path in scene.paths]
    return [Scene(scenes[0].prompt, paths, [asset for scene in scenes for asset in scene.assets])]


def _check_size(scene: Scene) -> None:
    if len(scene.paths) == 1:
        raise BadInput(
            f"{scene.paths[0]} is the only run of its asset with the prompt {scene.prompt!r}.",
            "Name two or more runs of each asset and prompt.",
        )
    if len(scene.paths) > MOST_CLIPS:
        raise BadInput(
            f"{len(scene.paths)} runs have the prompt {scene.prompt!r}: people cannot compare so many at once.",
            f"Name at most {MOST_CLIPS}.",
        )


def view_of(assets: Sequence[MovingAsset], config: PreferConfig) -> Framing:
    """One view in which all of the motions stay in sight: a run that goes far does not look smaller than the others."""
    lows, highs = zip(*(asset.box() for asset in assets), strict=True)
    return Framing(
        low=torch.stack(lows).amin(dim=0),
        high=torch.stack(highs).amax(dim=0),
        azimuth_deg=config.azimuth_deg,
        elevation_deg=config.elevation_deg,
        fov_deg=config.fov_deg,
        width=config.size,
        height=config.size,
    )


@torch.no_grad()
def film(asset: MovingAsset, cameras: list[Camera], rasterizer: Rasterizer, config: PreferConfig) -> bytes:
    """An mp4 of ``asset`` seen by ``cameras``, one a frame. It holds no name: not of a file, not of a title."""
    frames = []
    for time, camera in zip(asset.times(config.frames), cameras, strict=True):
        images = render(asset.at(time[None]), [camera], rasterizer, background=_white(config))
        frames.append(images.rgb.clamp(0.0, 1.0).cpu())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_mp4(path, torch.cat(frames), config.fps)
        return path.read_bytes()


def page(key: Key, films: dict[str, bytes], stills: list[bytes]) -> str:
    """The page: it knows clips by their random names only, and has them in a random order."""
    order = random.SystemRandom().sample(sorted(films), len(films))
    study = {
        "page": key.page,
        "questions": [{"id": name, "text": text} for name, text in QUESTIONS.items()],
        "last": FIXED_LAST,
        "sets": [{"prompt": one.prompt, "clips": sorted(one.clips)} for one in key.sets],
    }
    return fill("prefer.html", study=study, films={name: films[name] for name in order}, stills=stills)


def _white(config: PreferConfig) -> Tensor:
    return torch.ones(3, device=config.device)
