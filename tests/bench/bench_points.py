"""The points prior on bodies that it has never seen. ``python -m tests.bench.bench_points``

Every held-out body is asked for each motion that it makes itself and the prior knows: with the first seed one sample,
the mean of 16 and the best of the six that ``sample`` shows; with ``--distill`` all of ``distill`` with three seeds,
without it one sample and the best of six with each. What comes out is compared with the body's own trajectories, in all
its Gaussians: the nearest clip of that verb, loops at their best shift. The judge of motions (``motion_judge``) names
it. The last line is JSON, kept in ``results/points.json``; every single result is in ``results/points_runs.csv``.

    --prior NAME        another prior than the shipped one: a folder
    --bodies A,B        only these, as in Cow,Koi
    --verbs A,B         only these
    --seeds N           fewer
    --add               do what results/points_runs.csv lacks, and keep what it has
    --samples N         in the mean, which is taken with the first seed: 16 unless given
    --gaussians N       of each body
    --distill           distil too; --work FOLDER keeps the runs, and a second start goes on with them
    --processes N       at a time
    --sheet FILE        draw a picture: of each body the truth above, what was made below
    --no-record         leave results as they are
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stages import distill
from stages.cameras import Camera, fitting_radius, orbit_camera
from stages.conventions import step_generator
from stages.distilling.sampled import sampled_motion
from stages.distilling.viewpoints import ViewsConfig, sample_viewpoints
from stages.errors import BadInput
from stages.events import silent
from stages.gaussians import Frames
from stages.geometry.trajectories import basis_of
from stages.media.contact_sheet import contact_sheet, write_png
from stages.motion.interface import Motion
from stages.moving.asset import load_moving_asset
from stages.priors.load import load_prior
from stages.priors.points import PointsPrior, sees_points
from stages.raster import choose, render
from stages.run_dir import RunDir
from tests.bench.motion_judge import CLASSES, WEIGHTS, load_judge, name_motion
from tests.bench.motion_measures import compare, foot_slide, spread, stretching
from tests.bench.point_tasks import NUM_GAUSSIANS, HeldOut, Task, held_out, tasks_of
from tests.bench.points_figures import NUM_SAMPLES, summary, table
from tests.bench.record import RESULTS, finish, read_rows, write_rows

RUNS = "points_runs.csv"
NUM_COMPARED = NUM_SAMPLES
TOLD_BY_TASK = ("kind", "family", "group", "verb", "cyclic", "sentence")
"""Of a result, what is the same for every one of its task."""
SLIDE_FRAMES = 48
FRAME_PX, SHEET_FRAMES = 96, 8
SHEET_VERBS = ("walk", "swim", "fly", "run", "jump", "dance", "attack")
"""Of each body the first of these is drawn that it makes."""


@dataclass(frozen=True, kw_only=True)
class PointsBench:
    """Settings."""

    prior: str = "points"
    bodies: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    seeds: int = 3
    samples: int = 16
    gaussians: int = NUM_GAUSSIANS
    distill: bool = False
    work: str = ""
    processes: int = 1

    def tasks(self) -> list[Task]:
        """What is asked. Raises ``BadInput``: the prior sees no points, or there is no such body."""
        bodies = held_out(self.gaussians)
        unknown = set(self.bodies) - {body.name for body in bodies}
        if unknown:
            raise BadInput(
                f"No held-out body is called {', '.join(sorted(unknown))}.",
                f"There are: {', '.join(body.name for body in bodies)}.",
            )
        chosen = tuple(body for body in bodies if not self.bodies or body.name in self.bodies)
        return [task for task in tasks_of(_prior(self.prior), chosen) if not self.verbs or task.verb.name in self.verbs]


@dataclass(frozen=True)
class Made:
    """A motion that was made for a task."""

    at: Callable[[Tensor], Tensor]  # displacements [T, N, 3] of all Gaussians at [T] times
    seconds: float


def main() -> None:
    """Run it as the module says."""
    config, said = parse()
    found = measure(config, recorded(config) if said.add else [])
    figures = summary(found)
    print(table(figures))
    if said.sheet:
        write_png(Path(said.sheet), sheet(config))
    if said.no_record:
        print(json.dumps(figures), flush=True)
    else:
        write_rows(RESULTS / RUNS, [abridged(row) for row in found])
        finish("points", figures, "make bench-points")


def parse() -> tuple[PointsBench, argparse.Namespace]:
    """What the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--prior", default="points")
    for name in ("--bodies", "--verbs", "--work", "--sheet"):
        parser.add_argument(name, default="")
    for name, number in (("--seeds", 3), ("--samples", 16), ("--gaussians", NUM_GAUSSIANS), ("--processes", 1)):
        parser.add_argument(name, type=int, default=number)
    for name in ("--distill", "--no-record", "--add"):
        parser.add_argument(name, action="store_true")
    said = parser.parse_args()
    settings: dict[str, Any] = {field.name: getattr(said, field.name) for field in fields(PointsBench)}
    for name in ("bodies", "verbs"):
        settings[name] = tuple(filter(None, settings[name].split(",")))
    return PointsBench(**settings), said


def recorded(config: PointsBench) -> list[dict[str, Any]]:
    """Every single result that there is."""
    tasks = {task.name: task for task in replace(config, bodies=(), verbs=()).tasks()}
    return [_about(tasks[row["task"]]) | row for row in read_rows(RESULTS / RUNS)]


def abridged(row: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a result: three digits, and of its task the name alone."""
    kept = {name: value for name, value in row.items() if name not in TOLD_BY_TASK}
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in kept.items()}


def measure(config: PointsBench, known: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """Every single result: of the true clips, and of what was made. What is ``known`` is not made again."""
    found = list(known)
    done = {(row["task"], -1 if row["recipe"] == "true" else row["seed"]) for row in found}
    names = [task.name for task in config.tasks()]
    jobs = [(config, name, seed) for seed in range(-1, config.seeds) for name in names if (name, seed) not in done]
    if config.processes == 1:
        for job in jobs:
            found += _told(run_job(job))
        return found
    with ProcessPoolExecutor(config.processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for rows in pool.map(run_job, jobs):
            found += _told(rows)
    return found


def run_job(job: tuple[PointsBench, str, int]) -> list[dict[str, Any]]:
    """One task with one seed; what the body does itself where the seed is -1."""
    config, name, seed = job
    task = next(task for task in config.tasks() if task.name == name)
    if seed < 0:
        return true_rows(task)
    return made_rows(task, seed, config)


def true_rows(task: Task) -> list[dict[str, Any]]:
    """What the judge calls the body's own clips of the verb."""
    rows = []
    for motion in task.body.clips(task.verb.name):
        moves = task.body.moves(motion, motion.cyclic)
        rows.append(_row(task, "true", 0) | {"clip": motion.clip, "named": named(task, moves, motion.cyclic, 0)})
    return rows


def made_rows(task: Task, seed: int, config: PointsBench) -> list[dict[str, Any]]:
    """What is made for a task with one seed, by every recipe."""
    cyclic, times = task.verb.cyclic, basis_of(task.verb.cyclic).times()
    made: dict[str, Made] = {}
    samples = torch.empty(0)
    if seed == 0 or not config.distill:
        made, samples = sampled(task, seed, _prior(config.prior), 1 if seed else config.samples)
    if config.distill and task.sentence:
        made["distill"] = distilled(task, seed, config)
    truths = [(motion, task.body.moves(motion, cyclic)) for motion in task.body.clips(task.verb.name)]
    rows = []
    for recipe, one in made.items():
        moves = one.at(times)
        compared = [(compare(moves, truth, cyclic), motion, truth) for motion, truth in truths]
        alike, motion, truth = min(compared, key=lambda found: found[0]["distance_ratio"])
        row: dict[str, Any] = _row(task, recipe, seed) | alike | {"clip": motion.clip, "seconds": one.seconds}
        row["named"] = named(task, moves, cyclic, seed)
        for prefix, which in (("", moves), ("true_", truth)):
            body = (task.body.asset.means, which, task.body.body.weights)
            row[f"{prefix}stretching"] = stretching(*body)
            row[f"{prefix}bone_stretching"] = stretching(*body, within=True)
        if task.verb.name == "walk" and cyclic:
            fine = torch.arange(SLIDE_FRAMES) / SLIDE_FRAMES
            true_fine = task.body.moves(motion, cyclic, SLIDE_FRAMES)
            for prefix, which in (("", one.at(fine)), ("true_", true_fine)):
                row[f"{prefix}slide"] = foot_slide(task.body.asset.means, which, motion.seconds)
        if recipe == "sample":
            row["best_of_six"] = max(compare(six, truth, cyclic)["cosine"] for six in samples for _, truth in truths)
            row["spread"] = spread(samples, cyclic)
            names = [named(task, sample, cyclic, seed) for sample in samples]
            if None not in names:
                row["samples_right"] = names.count(task.verb.name)
        rows.append({key: round(value, 5) if isinstance(value, float) else value for key, value in row.items()})
    return rows


def sampled(task: Task, seed: int, prior: PointsPrior, count: int) -> tuple[dict[str, Made], Tensor]:
    """One sample and, of more than one, the mean of ``count``; and ``NUM_COMPARED`` [B, T, N, 3] as ``sample`` shows
    them."""
    asset, cyclic = task.body.asset, task.verb.cyclic
    start = time.perf_counter()
    views = sample_viewpoints(asset, prior.clip, ViewsConfig(num_cameras=1), choose("cpu"), seed=seed)
    view = prior.look_at(asset, views[0], cyclic=cyclic, facing_deg=0.0, seed=seed)
    condition = prior.condition(task.text(prior), asset, view)
    one = prior.sample(condition, step_generator(seed, 0, stream=21))
    first = time.perf_counter() - start

    def carried(which: Tensor, seconds: float) -> Made:
        motion = sampled_motion(prior, which, asset, view)
        return Made(_displacements(motion, asset.means), seconds)

    made = {"sample": carried(one, first)}
    if count > 1:
        others = prior.sample(condition, step_generator(seed, 1, stream=21), count=count - 1)
        whole = time.perf_counter() - start
        made["mean"] = carried(torch.cat([one, others]).mean(dim=0, keepdim=True), whole)
    times = basis_of(cyclic).times()
    varied = prior.varied(condition, step_generator(seed, 0, stream=8), count=NUM_COMPARED)[0]
    return made, torch.stack([carried(latent[None], 0.0).at(times) for latent in varied])


def distilled(task: Task, seed: int, config: PointsBench) -> Made:
    """What ``distill`` makes with its default preset."""
    with tempfile.TemporaryDirectory() as temporary:
        run = RunDir(Path(config.work or temporary) / f"{task.name}-{seed}".replace(" ", "_"))
        run.path.mkdir(parents=True, exist_ok=True)
        run.put_asset(task.body.asset, task.body.entry.file, force=False)
        start = time.perf_counter()
        settings = replace(
            distill.PRESETS["default"], prior=config.prior, prompt=task.sentence, seed=seed, preview_every=0
        )
        distill.run(run, settings, silent)
        seconds = time.perf_counter() - start
        done = json.loads((run.path / "motion" / "complete.json").read_text())
        moving = load_moving_asset(run, "motion", "cpu")
    return Made(lambda times: moving.file_displacements(task.body.asset.means, times), done.get("seconds", seconds))


def _displacements(motion: Motion, points: Tensor) -> Callable[[Tensor], Tensor]:
    def at(times: Tensor) -> Tensor:
        with torch.no_grad():
            return motion.displacements(points, times)

    return at


def named(task: Task, moves: Tensor, cyclic: bool, seed: int) -> str | None:
    """What the judge calls ``moves``, a loop begun anywhere; None where the verb is none of its classes, or there is no
    judge."""
    if task.verb.name not in CLASSES or not WEIGHTS.is_file():
        return None
    if cyclic:
        moves = moves.roll(int(torch.randint(0, len(moves), (), generator=step_generator(seed, 0, stream=22))), dims=0)
    return name_motion(load_judge(), task.body.asset.means, moves)


def sheet(config: PointsBench) -> Tensor:
    """A picture [H, W, 3] of one motion of each body, two bodies beside each other: the truth above, what was made with
    seed 0 below."""
    tasks = config.tasks()
    drawn = []
    for body in dict.fromkeys(task.body for task in tasks):
        own = {task.verb.name: task for task in tasks if task.body == body}
        task = own[min(own, key=lambda verb: SHEET_VERBS.index(verb) if verb in SHEET_VERBS else len(SHEET_VERBS))]
        cyclic = task.verb.cyclic
        made = sampled(task, 0, _prior(config.prior), 1)[0]["sample"]
        if config.distill and task.sentence:
            made = distilled(task, 0, config)
        times = basis_of(cyclic).times()
        moves = made.at(times)
        truths = [body.moves(motion, cyclic) for motion in body.clips(task.verb.name)]
        truth = min(truths, key=lambda truth: compare(moves, truth, cyclic)["distance_ratio"])
        drawn.append(torch.stack([film(body, truth), film(body, moves)]))
    if len(drawn) % 2:
        drawn.append(torch.ones_like(drawn[0]))
    beside = [torch.cat([left, right], dim=1) for left, right in zip(drawn[::2], drawn[1::2], strict=True)]
    return contact_sheet(torch.cat(beside).flatten(0, 1), columns=2 * SHEET_FRAMES)


@torch.no_grad()
def film(body: HeldOut, moves: Tensor) -> Tensor:
    """Pictures [T, H, W, 3] of a body in motion, seen from the side and a little from the front."""
    frames = Frames(body.asset, body.asset.means + moves[:: len(moves) // SHEET_FRAMES])
    cameras = [_camera(body)] * frames.num_frames
    return render(frames, cameras, choose("cpu"), background=torch.ones(3)).rgb.clamp(0.0, 1.0)


def _camera(body: HeldOut) -> Camera:
    low, high = body.asset.bounds()
    return orbit_camera(
        azimuth_deg=60.0, elevation_deg=12.0, radius=fitting_radius(low, high, 35.0), fov_deg=35.0, width=FRAME_PX,
        height=FRAME_PX, target=0.5 * (low + high),
    )  # fmt: skip


@lru_cache(maxsize=2)
def _prior(name: str) -> PointsPrior:
    prior = load_prior(name)
    if not sees_points(prior):
        raise BadInput(f"The prior {name!r} does not see points.", "Give a points prior: --prior FOLDER")
    return prior


def _about(task: Task) -> dict[str, Any]:
    return {
        "kind": task.body.entry.kind, "family": task.body.entry.held_out, "group": task.group,
        "verb": task.verb.name, "cyclic": task.verb.cyclic, "sentence": task.sentence,
    }  # fmt: skip


def _row(task: Task, recipe: str, seed: int) -> dict[str, Any]:
    return {"task": task.name, **_about(task), "recipe": recipe, "seed": seed}


def _told(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for row in rows:
        cosine = f"{row['cosine']:.3f}" if "cosine" in row else "     "
        print(f"{row['task']:28s} {row['recipe']:8s} seed {row['seed']}  {cosine}  {row['named']}", flush=True)
    return rows


if __name__ == "__main__":
    main()
