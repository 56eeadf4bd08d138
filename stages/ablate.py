"""ablate: what each part of the method does, by leaving it out.

    animus3d ablate deer.ply bird.ply --prompt "a jumping animal" --out study

1. Every asset becomes a run, with a rig where bones move it; for every seed a static LoRA is fitted where one is asked
   for.
2. Every variant (``stages.ablation.variants``) distils from there with that seed, and is measured.
3. Tables of the means with their intervals, and for every ordering that the paper claims whether it holds.

All of it goes on where it stopped. It runs other stages, each in a run directory of its own::

    OUT/runs/TASK/asset                   the static asset, and its rig
    OUT/runs/TASK/seed-S/VARIANT          a run as any other: render, view, eval and report work on it
    OUT/ablation.json table.md table.csv table.tex
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

import torch

from stages import distill, evaluate, fit_lora, reconstruct, refine, rig, track
from stages.ablation import result_tables
from stages.ablation.orderings import orderings, summary
from stages.ablation.tasks import Task
from stages.ablation.variants import FULL, Variant
from stages.errors import BadInput, SettingsDiffer
from stages.events import Finished, Progress, Report, Started, Wrote, silent
from stages.files import read_json, replacing, write_json
from stages.run_dir import RunDir
from stages.run_dir.layout import RIG
from stages.settings import with_settings
from stages.tables import as_text


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


PRESETS = {
    "default": _points(),
    "video": AblateConfig(),
    "score": _score_alone(),
    "skeleton": _skeleton(),
    "akd": _akd(),
    "published": _published(),
}


def run(
    out: Path,
    tasks: Sequence[Task],
    variants: Sequence[Variant],
    config: AblateConfig,
    report: Report,
    *,
    processes: int = 1,
    force: bool = False,
) -> dict[str, Any]:
    """Write ``OUT/ablation.json`` and the tables; returns what the former holds.

    Raises:
        BadInput: no seed, or whatever a stage raises for an asset.
        SettingsDiffer: ``out`` holds runs with other settings and ``force`` is not set.
    """
    if config.seeds < 1:
        raise BadInput(f"ablate needs at least one seed, not {config.seeds}.")
    # 1.
    for task in tasks:
        static = RunDir(out / "runs" / task.name / "asset")
        with static.lock("ablate"):
            settings = replace(config.asset, pose=task.pose or None)
            reconstruct.run(static, settings, silent, file=Path(task.asset), force=force)
            if any(moves_bones(settings_of(config, variant)) for variant in variants):
                rig.run(static, replace(config.rig, pose=task.pose or config.rig.pose), silent, force=force)
    # 1. and 2.
    jobs = [(task, seed) for seed in range(config.seeds) for task in tasks]
    report(Started("ablate", len(jobs) * len(variants)))
    results: list[dict[str, Any]] = []
    work = partial(run_job, out, variants=variants, config=config, force=force)
    for found in _each(work, jobs, processes):
        results += found
        report(Progress(len(results)))
    report(Finished("ablate"))
    # 3.
    metrics = list(dict.fromkeys(name for result in results for name in result["metrics"]))
    table = summary(results, variants, metrics)
    made = {"variants": {v.name: v.summary for v in variants}, "settings": asdict(config), "results": results}
    made |= {"table": table, "orderings": orderings(table, variants)}
    write_json(out / "ablation.json", made)
    report(Wrote(out / "ablation.json", "every result, the means and the orderings"))
    write_tables(out, made, report)
    return made


def write_tables(out: Path, made: dict[str, Any], report: Report) -> None:
    """``table.md``, ``.csv`` and ``.tex``."""
    against_truth = [name for name in ("trajectory_ratio", "trajectory_cosine") if name in made["table"][FULL]]
    shown = [*against_truth, *dict.fromkeys(found["metric"] for found in made["orderings"])]
    means, verdicts = result_tables.means(made["table"], shown), result_tables.verdicts(made["orderings"])
    texts = {
        ".md": "\n".join(as_text(table, ".md") for table in (means, verdicts)),
        ".csv": as_text(result_tables.everything(made["table"]), ".csv"),
        ".tex": as_text(means, ".tex"),
    }
    for suffix, text in texts.items():
        path = out / f"table{suffix}"
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        report(Wrote(path, "the means with their intervals" + (", the orderings" if suffix == ".md" else "")))


def _each(
    work: Callable[[tuple[Task, int]], list[dict[str, Any]]], jobs: Iterable[tuple[Task, int]], processes: int
) -> Iterator[list[dict[str, Any]]]:
    """The results of every job, in this process or in several that share its threads."""
    if processes == 1:
        yield from map(work, jobs)
        return
    threads = max(1, torch.get_num_threads() // processes)
    with ProcessPoolExecutor(processes, get_context("spawn"), _begin, (threads,)) as pool:
        try:
            yield from pool.map(work, jobs)
        except BaseException:
            for process in active_children():
                process.terminate()
            raise


def _begin(threads: int) -> None:
    """Worker initialiser: cap the threads; exit when the parent dies."""
    torch.set_num_threads(threads)
    parent = parent_process()
    assert parent is not None

    def leave() -> None:
        parent.join()
        os._exit(1)

    Thread(target=leave, daemon=True).start()


def run_job(
    out: Path, job: tuple[Task, int], *, variants: Sequence[Variant], config: AblateConfig, force: bool
) -> list[dict[str, Any]]:
    """All variants of one task with one seed, the full method first: the others start from its LoRA or motion."""
    task, seed = job
    folder = out / "runs" / task.name / f"seed-{seed}"
    compares = any(settings_of(config, variant).score.compares for variant in variants)
    results = []
    for variant in variants:
        run_dir = RunDir(folder / variant.name)
        origin = RunDir(folder / FULL if variant.name != FULL else folder.parent / "asset")
        try:
            with run_dir.lock("ablate"):
                run_dir.copy_from(origin, before="refine" if variant.refined else "distill")
                metrics = run_variant(run_dir, task, seed, variant, config, force=force, lora=compares)
        except SettingsDiffer as error:
            raise SettingsDiffer(error.what, "Choose another --out, or do it all again with --force.") from None
        results.append({"task": task.name, "seed": seed, "variant": variant.name, "metrics": metrics})
    return results


def settings_of(config: AblateConfig, variant: Variant) -> distill.DistillConfig:
    """How a variant distils, but for the sentence and the seed."""
    made: distill.DistillConfig = with_settings(config.distill, variant.settings)
    return made


def moves_bones(config: distill.DistillConfig) -> bool:
    """Whether the asset needs a rig."""
    return config.motion.kind == "skeleton"


def run_variant(
    run_dir: RunDir, task: Task, seed: int, variant: Variant, config: AblateConfig, *, force: bool, lora: bool
) -> dict[str, float | None]:
    """Distil, refine where the variant says so, and measure; what ``eval`` says, by name. ``lora``: the full method is
    to have a static LoRA, which one of the variants compares with."""
    fitted = replace(config.lora, seed=seed, object=task.object or config.lora.object)
    moving = replace(settings_of(config, variant), prompt=task.prompt, seed=seed)
    refined = replace(config.refine, seed=seed)
    tracked = config.physics and variant.physics and moves_bones(moving)
    source = "refined" if variant.refined else "tracked" if tracked else "motion"
    measured = replace(config.evaluate, source=source)
    if task.truth:
        measured = replace(measured, truth=task.truth, truth_pose=task.pose or None)
    inputs = {"asset": run_dir.asset_hash(), "distill": asdict(moving), "evaluate": asdict(measured)}
    if lora and moving.score.weight:
        inputs["lora"] = asdict(fitted)
    if moves_bones(moving):
        inputs["rig"] = run_dir.stage(RIG.folder).result_hash(RIG.result)
    if tracked:
        inputs["track"] = asdict(config.track)
    if variant.refined:
        inputs["refine"] = asdict(refined)
    inputs = json.loads(json.dumps(inputs))  # as it is read back
    known = read_json(run_dir.path / "ablation.json")
    if known is not None and not force and known.get("inputs") == inputs:
        return dict(known["metrics"])
    if variant.name == FULL and lora:
        fit_lora.run(run_dir, fitted, silent, force=force)
    if not variant.refined:
        distill.run(run_dir, moving, silent, force=force)
    else:
        refine.run(run_dir, refined, silent, force=force)
    if tracked:
        track.run(run_dir, config.track, silent, force=force)
    figures = evaluate.run(run_dir, measured, silent)["metrics"]
    metrics = {name: figure["value"] for name, figure in figures.items()}
    write_json(run_dir.path / "ablation.json", {"inputs": inputs, "metrics": metrics})
    return metrics
