"""ablate: what each part of the method does, by leaving it out.

    animus3d ablate deer.ply bird.ply --prompt "a jumping animal" --out study

1. Every asset becomes a run, with a rig where bones move it; for every seed a static LoRA is fitted where one is asked
   for.
2. Every variant (``stages.ablation.variants``) distils from there with that seed, and is measured.
3. Tables of the means with their intervals, and for every ordering that the paper claims whether it holds.

A variant that diverges (``NotFinite``) is a result too: it is told and kept, and the others go on.

All of it goes on where it stopped. It runs other stages, each in a run directory of its own::

    OUT/runs/TASK/asset                   the static asset, and its rig
    OUT/runs/TASK/seed-S/VARIANT          a run as any other: render, view, eval and report work on it
    OUT/ablation.json table.md table.csv table.tex
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import torch

from stages import reconstruct, rig
from stages.ablate_variant import AblateConfig, base_of, moves_bones, run_variant, settings_of
from stages.ablation import result_tables
from stages.ablation.orderings import orderings, summary
from stages.ablation.tasks import Task
from stages.ablation.variants import FULL, Variant
from stages.errors import BadInput, NotFinite, SettingsDiffer
from stages.events import Caution, Finished, Progress, Report, Started, Wrote, silent
from stages.files import replacing, write_json
from stages.run_dir import RunDir
from stages.tables import as_text
from stages.threads import leave_with_parent


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
        NotFinite: every variant of every task has diverged.
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
    failed = failures(results)
    for line in failed:
        report(Caution(line))
    if len(failed) == len(results):
        raise NotFinite("Every variant of every task has diverged.", "Use lower learning rates.")
    # 3.
    metrics = list(dict.fromkeys(name for result in results for name in result["metrics"]))
    table = summary(results, variants, metrics)
    made = {"variants": {v.name: v.summary for v in variants}, "settings": asdict(config), "results": results}
    made |= {"table": table, "orderings": orderings(table, variants)}
    write_json(out / "ablation.json", made)
    report(Wrote(out / "ablation.json", "every result, the means and the orderings"))
    write_tables(out, made, report)
    return made


def failures(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for every variant that has diverged, whose figures no mean holds."""
    return [
        f"Left out: {one['variant']} of {one['task']} with seed {one['seed']}. {one['failed']}"
        for one in results
        if "failed" in one
    ]


def write_tables(out: Path, made: dict[str, Any], report: Report) -> None:
    """``table.md``, ``.csv`` and ``.tex``."""
    against_truth = [name for name in ("trajectory_ratio", "trajectory_cosine") if name in made["table"][FULL]]
    shown = [*against_truth, *dict.fromkeys(found["metric"] for found in made["orderings"])]
    means, verdicts = (
        result_tables.means(made["table"], shown, failures(made["results"])),
        result_tables.verdicts(made["orderings"]),
    )
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
    leave_with_parent()


def run_job(
    out: Path, job: tuple[Task, int], *, variants: Sequence[Variant], config: AblateConfig, force: bool
) -> list[dict[str, Any]]:
    """All variants of one task with one seed, the full method first: the others start from its LoRA or motion."""
    task, seed = job
    folder = out / "runs" / task.name / f"seed-{seed}"
    compares = not config.views and any(settings_of(config, variant).score.compares for variant in variants)
    results = []
    for variant in variants:
        run_dir = RunDir(folder / variant.name)
        origin, before = base_of(folder, variant)
        try:
            with run_dir.lock("ablate"):
                run_dir.copy_from(RunDir(origin), before=before)
                found = run_variant(run_dir, task, seed, variant, config, force=force, lora=compares)
        except SettingsDiffer as error:
            raise SettingsDiffer(error.what, "Choose another --out, or do it all again with --force.") from None
        results.append({"task": task.name, "seed": seed, "variant": variant.name, **found})
    return results
