"""One variant of a study of ``ablate``: made in a run of its own, and measured.

The stages run as on the command line: ``fit-lora`` where a score compares with the asset at rest, ``sample`` where
videos are followed (Animate3D), ``distill``, ``track`` where a simulated body follows bones, ``refine``, ``eval``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from stages import distill, distill_videos, evaluate, fit_lora, reconstruct, refine, rig, sample, track
from stages.ablation.tasks import Task
from stages.ablation.variants import FULL, Variant
from stages.errors import NotFinite
from stages.events import silent
from stages.files import read_json, write_json
from stages.priors.find import EXACT_VIEWS
from stages.run_dir import RunDir
from stages.run_dir.layout import RIG
from stages.settings import with_settings


@dataclass(frozen=True, kw_only=True)
class AblateConfig:
    """Settings of ``ablate``: how many seeds, and those of the stages it runs."""

    seeds: int = 3
    asset: reconstruct.ReconstructConfig = field(default_factory=reconstruct.ReconstructConfig)
    rig: rig.RigConfig = field(default_factory=rig.RigConfig)
    lora: fit_lora.FitLoraConfig = field(default_factory=fit_lora.FitLoraConfig)
    distill: distill.DistillConfig = field(default_factory=lambda: distill.DistillConfig(preview_every=0))
    physics: bool = False  # whether a simulated body follows what moves bones, and is measured in its place
    track: track.TrackConfig = field(default_factory=track.TrackConfig)
    refine: refine.RefineConfig = field(default_factory=lambda: refine.RefineConfig(preview_every=0))
    views: bool = False  # whether sampled videos are followed and then refined (Animate3D), in place of a score
    sample: sample.SampleConfig = field(default_factory=sample.SampleConfig)
    follow: distill_videos.VideosConfig = field(default_factory=lambda: distill_videos.VideosConfig(preview_every=0))
    evaluate: evaluate.EvaluateConfig = field(default_factory=evaluate.EvaluateConfig)


def _score_alone() -> AblateConfig:
    """The embedded prior's flow would do the work whatever becomes of the score: here it is left out. ARAP as strong as
    the flow wants it stops what the score alone moves (``docs/priors.md``). [ours]"""
    base = AblateConfig()
    return replace(
        base,
        distill=with_settings(
            base.distill,
            {"pixel_flow.weight": 0.0, "score.every": 1, "steps": 120, "regularizers.arap_weight": 1.0},
        ),
    )


def _points() -> AblateConfig:
    """The paper's method with the prior that sees points."""
    return AblateConfig(
        lora=fit_lora.PRESETS["default"],
        distill=replace(distill.PRESETS["points-msd"], preview_every=0),
        refine=replace(refine.PRESETS["default"], preview_every=0),
    )


def _published() -> AblateConfig:
    return AblateConfig(
        lora=fit_lora.PRESETS["published"],
        distill=replace(distill.PRESETS["published"], preview_every=0),
        refine=replace(refine.PRESETS["published"], preview_every=0),
    )


def _skeleton() -> AblateConfig:
    """AKD's method with the prior that sees points: bones stay above a ground that the prior does not see. [ours]"""
    base = _points()
    return replace(
        base,
        physics=True,
        distill=with_settings(
            base.distill,
            {
                "score.objective": "sds",
                "motion.kind": "skeleton",
                "motion.skeleton.learning_rate": 1e-2,
                "views.ground": True,
            },
        ),
    )


def _akd() -> AblateConfig:
    return replace(_published(), physics=True, distill=replace(distill.PRESETS["akd"], preview_every=0))


def _animate3d() -> AblateConfig:
    """Animate3D's: videos of four views are sampled and followed, and 4D-SDS comes after that."""
    name = "yanqinJiang/animate3d"
    return replace(
        _published(),
        views=True,
        distill=distill.DistillConfig(prior=name),
        sample=sample.SampleConfig(prior=name, count=1),
        refine=refine.RefineConfig(objective="4d-sds", prior=name, preview_every=0),
    )


PRESETS = {
    "default": _points(),
    "video": AblateConfig(),
    "score": _score_alone(),
    "skeleton": _skeleton(),
    "akd": _akd(),
    "animate3d": _animate3d(),
    "published": _published(),
}


def settings_of(config: AblateConfig, variant: Variant) -> distill.DistillConfig:
    """How a variant distils, but for the sentence and the seed. Where videos are followed, nothing is distilled."""
    made: distill.DistillConfig = with_settings(config.distill, {} if config.views else variant.settings)
    return made


def moves_bones(config: distill.DistillConfig) -> bool:
    """Whether the asset needs a rig."""
    return config.motion.kind == "skeleton"


@dataclass(frozen=True)
class Step:
    """A stage of a variant. What is taken over from another variant has not ``runs``, but counts."""

    name: str
    run: Callable[..., None]
    settings: Any
    runs: bool = True


def run_variant(
    run_dir: RunDir, task: Task, seed: int, variant: Variant, config: AblateConfig, *, force: bool, lora: bool
) -> dict[str, Any]:
    """Run the stages of a variant, and measure: ``{"metrics": what eval says, by name}``, and where it diverged
    ``{"metrics": {}, "failed": why}``. ``lora``: the full method is to have a static LoRA, which one of the variants
    compares with."""
    steps = _views(task, seed, variant, config) if config.views else _scored(task, seed, variant, config, lora=lora)
    made = {step.name for step in steps}
    source = "refined" if "refine" in made else "tracked" if "track" in made else "motion"
    measured = replace(config.evaluate, source=source)
    if task.truth:
        measured = replace(measured, truth=task.truth, truth_pose=task.pose or None)
    inputs = {"asset": run_dir.asset_hash(), "evaluate": asdict(measured)}
    inputs |= {step.name: asdict(step.settings) for step in steps}
    if moves_bones(settings_of(config, variant)):
        inputs["rig"] = run_dir.stage(RIG.folder).result_hash(RIG.result)
    inputs = json.loads(json.dumps(inputs))  # as it is read back
    known = read_json(run_dir.path / "ablation.json")
    if known is not None and not force and known.get("inputs") == inputs:
        return {name: known[name] for name in ("metrics", "failed") if name in known}
    try:
        for step in steps:
            if step.runs:
                step.run(run_dir, step.settings, silent, force=force)
        figures = evaluate.run(run_dir, measured, silent)["metrics"]
        found: dict[str, Any] = {"metrics": {name: figure["value"] for name, figure in figures.items()}}
    except NotFinite as error:
        found = {"metrics": {}, "failed": str(error)}
    write_json(run_dir.path / "ablation.json", {"inputs": inputs, **found})
    return found


def base_of(folder: Path, variant: Variant) -> tuple[Path, str]:
    """The run from which a variant starts, all those of a seed being in ``folder``, and the stage before which it does:
    the full method's run, or the asset's."""
    alone = variant.name == FULL or not variant.together
    before = "refine" if variant.refined or not variant.clean else "distill"
    return (folder.parent / "asset" if alone else folder / FULL), before


def _scored(task: Task, seed: int, variant: Variant, config: AblateConfig, *, lora: bool) -> list[Step]:
    """The stages of Animus3D, and of AKD."""
    moving = replace(settings_of(config, variant), prompt=task.prompt, seed=seed)
    steps = []
    if lora and (variant.name == FULL or moving.score.weight):
        fitted = replace(config.lora, seed=seed, object=task.object or config.lora.object)
        steps.append(Step("lora", fit_lora.run, fitted, runs=variant.name == FULL))
    steps.append(Step("distill", distill.run, moving, runs=not variant.refined))
    if variant.refined:
        steps.append(Step("refine", refine.run, replace(config.refine, seed=seed)))
    elif config.physics and variant.physics and moves_bones(moving):
        steps.append(Step("track", track.run, config.track))
    return steps


def _views(task: Task, seed: int, variant: Variant, config: AblateConfig) -> list[Step]:
    """The stages of Animate3D. The exact prior's bank is the task's own file, if nothing else is said."""

    def with_bank(settings: Any) -> Any:
        return (
            replace(settings, bank=task.asset) if (settings.prior, settings.bank) == (EXACT_VIEWS, None) else settings
        )

    drawn = replace(with_bank(config.sample), prompt=task.prompt, seed=seed, together=variant.together)
    followed = replace(with_settings(config.follow, variant.settings), sample=1, seed=seed)
    steps = [
        Step("sample", sample.run, drawn, runs=variant.name == FULL or not variant.together),
        Step("follow", distill_videos.run, followed, runs=variant.clean),
    ]
    if variant.clean:
        steps.append(Step("refine", refine.run, replace(with_bank(config.refine), seed=seed)))
    return steps
