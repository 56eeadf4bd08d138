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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from stages import reconstruct, rig
from stages.ablate_variant import AblateConfig, base_of, moves_bones, run_variant, settings_of
from stages.ablation import result_tables
from stages.ablation.orderings import orderings, summary
from stages.ablation.tasks import Task
from stages.ablation.variants import FULL, Variant
from stages.errors import AnimusError, BadInput, NotAvailable, NotFinite, SettingsDiffer, error_of
from stages.events import Caution, Finished, Progress, Report, Started, Wrote, silent
from stages.files import replacing, write_json
from stages.jobs.engines.engine import Engine, Outcome, Work
from stages.jobs.engines.engine import Task as EngineTask
from stages.run_dir import RunDir
from stages.tables import as_text


def run(
    out: Path,
    tasks: Sequence[Task],
    variants: Sequence[Variant],
    config: AblateConfig,
    report: Report,
    *,
    engine: Engine | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Write ``OUT/ablation.json`` and the tables; returns what the former holds. The work is done in this process, or
    by an ``engine`` whose workers do what ``worker`` says.

    Raises:
        BadInput: no seed, or whatever a stage raises for an asset.
        NotAvailable: a worker of the engine has gone.
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
    in_turn = (run_job(out, job, variants=variants, config=config, force=force) for job in jobs)
    found: dict[int, list[dict[str, Any]]] = {}
    for number, results in enumerate(in_turn) if engine is None else _each(engine, jobs):
        found[number] = results
        report(Progress(sum(map(len, found.values()))))
    report(Finished("ablate"))
    results = [one for number in sorted(found) for one in found[number]]
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


def worker(out: Path, variants: Sequence[Variant], config: AblateConfig, *, force: bool) -> Work:
    """What an engine's workers do with the tasks of ``run``; it can be pickled, as engines do."""
    return partial(_work, out, variants, config, force)


def _work(out: Path, variants: Sequence[Variant], config: AblateConfig, force: bool, task: EngineTask) -> Outcome:
    """``run_job`` as an engine has it done. Raises nothing that is meant for a person."""
    try:
        found = run_job(out, (Task(**task["task"]), task["seed"]), variants=variants, config=config, force=force)
    except AnimusError as error:
        return {"state": "failed", "what": error.what, "hint": error.hint, "code": error.exit_code}
    return {"state": "done", "results": found}


def _each(engine: Engine, jobs: Sequence[tuple[Task, int]]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The number of every job and its results, as they come; the engine is closed afterwards."""
    waiting = [
        {"id": str(number), "task": asdict(task), "seed": seed} for number, (task, seed) in reversed([*enumerate(jobs)])
    ]
    under_way = 0
    try:
        while waiting or under_way:
            while waiting and under_way < engine.slots:
                engine.start(waiting.pop())
                under_way += 1
            for ended in engine.wait(1.0):
                under_way -= 1
                yield int(ended.task["id"]), _results(ended.outcome)
    finally:
        engine.close()


def _results(outcome: Outcome) -> list[dict[str, Any]]:
    """What a worker found; raises what it raised."""
    if outcome["state"] == "lost":
        raise NotAvailable(f"A worker has gone: {outcome['what']}.", "The same command goes on.")
    if outcome["state"] == "failed":
        raise error_of(outcome["code"], outcome["what"], outcome["hint"])
    found: list[dict[str, Any]] = outcome["results"]
    return found


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
