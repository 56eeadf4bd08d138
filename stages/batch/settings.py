"""From a job's columns to the settings of its stages.

A column is the name of a setting with its stage before it (``distill.steps``, ``render.frames``), the end of one where
that is enough, or one of ``COLUMNS``, which set several stages at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from stages import distill, fit_lora, reconstruct, reconstruct_photos, refine, render, rig
from stages.assignments import build_config, full_name, setting_names
from stages.errors import BadInput
from stages.jobs.job import short_hash, slug, stem_of
from stages.priors.find import is_points_kind, preset_of
from stages.settings import check, with_settings

PRESET, OBJECTIVE = "preset", "objective"
COLUMNS: dict[str, tuple[str, ...]] = {
    "prior": ("lora.prior", "distill.prior", "refine.prior"),
    "seed": ("lora.seed", "distill.seed", "refine.seed"),
    "profile": ("lora.profile", "distill.profile", "refine.profile"),
    "steps": ("distill.steps",),
    "motion": ("distill.motion.kind",),
    "distill.motion": ("distill.motion.kind",),
    "guidance": ("distill.score.guidance",),
    "seconds": ("distill.seconds",),
    "then": ("distill.then",),
    "travel": ("distill.travel",),
    "object": ("lora.object",),
    "facing": ("reconstruct.facing", "photos.facing"),
    "up": ("reconstruct.up",),
    "pose": ("reconstruct.pose", "rig.pose"),
    "num_gaussians": ("reconstruct.num_gaussians", "photos.num_gaussians"),
    PRESET: (),
    OBJECTIVE: (),
}
"""Column -> what it sets."""

MOTIONS = {"field": "hexplane"}
"""Kinds of motion that people call otherwise."""


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """Settings of all stages of a job."""

    reconstruct: reconstruct.ReconstructConfig = field(default_factory=reconstruct.ReconstructConfig)
    photos: reconstruct_photos.PhotosConfig = field(default_factory=reconstruct_photos.PhotosConfig)
    rig: rig.RigConfig = field(default_factory=rig.RigConfig)
    lora: fit_lora.FitLoraConfig
    distill: distill.DistillConfig
    refine: refine.RefineConfig
    render: render.RenderConfig = field(default_factory=render.RenderConfig)
    refined: bool = False  # whether refine runs
    video: Literal["mp4", "webm", "mov", "gif", "none"] = "mp4"  # what render writes

    def __post_init__(self) -> None:
        check(self)

    @property
    def rigged(self) -> bool:
        """Whether the asset needs a rig."""
        return self.distill.motion.kind == "skeleton"

    @property
    def compares(self) -> bool:
        """Whether the asset needs a static LoRA."""
        return self.distill.score.compares

    def on(self, device: str, raster: str | None) -> JobSettings:
        """These settings on a device."""
        where: dict[str, Any] = {"device": device} | ({} if raster is None else {"raster": raster})
        groups = ("photos", "lora", "distill", "refine", "render")
        made: JobSettings = with_settings(self, {f"{group}.{key}": v for group in groups for key, v in where.items()})
        return made

    def saying(self, prompt: str) -> JobSettings:
        """These settings for a sentence."""
        return replace(self, distill=replace(self.distill, prompt=prompt))


def settings_of(columns: Mapping[str, str]) -> JobSettings:
    """The settings that the columns of a job ask for. Raises ``BadInput``, ``NotAvailable`` (a prior)."""
    return _settings(tuple(sorted(columns.items())))


@lru_cache(maxsize=512)
def _settings(items: tuple[tuple[str, str], ...]) -> JobSettings:
    columns = dict(items)
    start = _start(columns)
    assignments = []
    for column, text in columns.items():
        text = MOTIONS.get(text, text) if column.endswith("motion") else text
        assignments += [f"{name}={text}" for name in sets(column)]
    objective = columns.get(OBJECTIVE)
    if objective in ("msd", "sds"):
        assignments.append(f"distill.score.objective={objective}")
    made: JobSettings = build_config({"": start}, "", {}, assignments)
    render.check(made.render, Path(f"out.{'mp4' if made.video == 'none' else made.video}"))
    return made


def _start(columns: Mapping[str, str]) -> JobSettings:
    """The presets that suit the prior and the objective, as on the command line."""
    prior, objective = columns.get("prior") or columns.get("distill.prior"), columns.get(OBJECTIVE)
    points = prior is None or is_points_kind(prior)
    usual = "default" if prior is None else preset_of(prior)
    if objective not in (None, "match", "msd", "sds"):
        raise BadInput(f"There is no objective {objective!r}.", "Choose one of: match, msd, sds.")
    if objective == "match" and not points:
        raise BadInput(
            f"The prior {prior!r} samples no paths to match.", "Take the prior points, or the objective msd."
        )
    scored = "points-msd" if points and objective in ("msd", "sds") else usual
    preset = columns.get(PRESET, scored)
    if preset not in distill.PRESETS:
        raise BadInput(f"There is no preset {preset!r}.", f"Choose one of: {', '.join(distill.PRESETS)}.")
    return JobSettings(lora=fit_lora.PRESETS[usual], distill=distill.PRESETS[preset], refine=refine.PRESETS[usual])


_KNOWN = JobSettings(
    lora=fit_lora.PRESETS["default"], distill=distill.PRESETS["default"], refine=refine.PRESETS["default"]
)


@lru_cache(maxsize=1024)
def sets(column: str) -> tuple[str, ...]:
    """The settings that a column sets. Raises ``BadInput`` for one that there is not, with the nearest name."""
    name = column.removeprefix("fit-") if column.startswith("fit-lora.") else column
    if name in COLUMNS:
        return COLUMNS[name]
    try:
        return (full_name(_KNOWN, name),)
    except BadInput as error:
        names = [*COLUMNS, *setting_names(_KNOWN)]
        if error.what.startswith("There are several"):
            raise BadInput(error.what, error.hint) from None
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        guess = f"Did you mean {close[0]!r}?" if close else "See docs/batch.md."
        raise BadInput(f"There is no setting {column!r}.", guess) from None


def asset_name(asset: str, columns: Mapping[str, str]) -> str:
    """The name of the run that a job begins from: the same for all jobs that can share it."""
    made = _shared(tuple(sorted(columns.items())))
    return "-".join(filter(None, [slug(stem_of(asset)), short_hash({"asset": asset, "made": made})]))


@lru_cache(maxsize=512)
def _shared(items: tuple[tuple[str, str], ...]) -> str:
    """A text that differs where the stages differ that jobs of an asset share."""
    settings = _settings(items)
    made: dict[str, Any] = {"reconstruct": asdict(settings.reconstruct), "photos": asdict(settings.photos)}
    if settings.rigged:
        made["rig"] = asdict(settings.rig)
    if settings.compares:
        made["lora"] = asdict(settings.lora)
    return short_hash(made)
