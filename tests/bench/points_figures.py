"""The figures of ``bench_points``, from its single results."""

from __future__ import annotations

from statistics import median
from typing import Any

from tests.bench.point_tasks import LIMBED, LIMBED_MORE, OTHERS, SPREAD_ARMS

LEAST_STRETCHING = 0.01
"""Below it the change of neighbours' distances of a true clip counts as that much when the change is divided by it."""

NUM_SAMPLES = 6
"""That are drawn at once, as ``sample`` does."""

RECIPES = ("sample", "mean", "distill")
GROUPS = ("known family", "new family")


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of the issue: for each recipe, family and kind of task, and over all tasks."""
    figures: dict[str, Any] = {"judge_on_true_clips": _right([row for row in found if row["recipe"] == "true"])}
    for recipe in RECIPES:
        rows = [row for row in found if row["recipe"] == recipe]
        if not rows:
            continue
        figures[recipe] = {"all": _figures(rows)} | {
            f"{family}, {group}": _figures(some)
            for family in GROUPS
            for group in (LIMBED, LIMBED_MORE, OTHERS, SPREAD_ARMS)
            if (some := [row for row in rows if row["family"] == family and row["group"] == group])
        }
    firsts = [row for row in found if row["recipe"] == "sample"]
    for group in GROUPS:
        best = [row["best_of_six"] for row in firsts if row["family"] == group]
        figures[f"cosine of the best of six samples, {group}"] = _median(best)
    for kind, cyclic in (("loops", True), ("run through once", False)):
        spreads = [row["spread"] for row in firsts if row["cyclic"] == cyclic]
        figures[f"spread of six samples, {kind}"] = _median(spreads)
    judged = [row["samples_right"] == NUM_SAMPLES for row in firsts if row.get("samples_right") is not None]
    figures["share of tasks whose six samples are all named right"] = _mean(judged)
    return figures


def _figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians, but for the least cosine, the share of amplitudes within 0.6 to 1.5 and the share that the judge names
    rightly. Of the change of neighbours' distances: ``rigidity`` over the true clip's, ``bones`` that of neighbours on
    one bone itself. ``slide`` is over the true clip's, ``distance`` over that of a body that stands still."""
    amplitudes = [row["amplitude"] for row in rows]
    slides = [row for row in rows if row.get("slide") is not None and row.get("true_slide")]
    return {
        "runs": len(rows),
        "cosine": _median([row["cosine"] for row in rows]),
        "least": round(min(row["cosine"] for row in rows), 3),
        "amplitude": _median(amplitudes),
        "within": _mean([0.6 <= amplitude <= 1.5 for amplitude in amplitudes]),
        "distance": _median([row["distance_ratio"] for row in rows]),
        "named": _right(rows),
        "rigidity": _median([row["stretching"] / max(row["true_stretching"], LEAST_STRETCHING) for row in rows]),
        "bones": _median([row["bone_stretching"] for row in rows]),
        "slide": _median([row["slide"] / row["true_slide"] for row in slides]),
        "seconds": _median([row["seconds"] for row in rows]),
    }


def _right(rows: list[dict[str, Any]]) -> float | None:
    return _mean([row["named"] == row["verb"] for row in rows if row.get("named")])


def _mean(values: list[bool]) -> float | None:
    return round(sum(values) / len(values), 3) if values else None


def _median(values: list[float]) -> float | None:
    return round(median(values), 3) if values else None


def table(figures: dict[str, Any]) -> str:
    """The figures as lines to read."""
    lines: list[str] = []
    for recipe in RECIPES:
        for name, row in figures.get(recipe, {}).items():
            if not lines:
                lines.append(f"{'':86s}" + "".join(f"{key:>{_width(key)}s}" for key in row))
            cells = (f"{'-' if value is None else value!s:>{_width(key)}s}" for key, value in row.items())
            lines.append(f"{recipe + ': ' + name:86s}" + "".join(cells))
    return "\n".join([*lines, *(f"{key}: {value}" for key, value in figures.items() if key not in RECIPES)])


def _width(key: str) -> int:
    return max(9, len(key) + 2)
