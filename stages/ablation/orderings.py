"""From single results to means with intervals, and to a verdict on each of the paper's orderings.

Results are dicts ``{"task", "seed", "variant", "metrics": {name: value or None}}``; those of a
variant that has diverged are empty. Seeds of one task are no
independent evidence, so the mean over seeds of each task is one unit; with fewer than ``FEWEST`` tasks every
(task, seed) is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any, Literal

from scipy.stats import t as student_t

from stages.ablation.variants import FULL, Claim, Variant

FEWEST = 5
"""Tasks from which on tasks, not single runs, are the units; with fewer units than this nothing is decided."""

Result = Mapping[str, Any]
Verdict = Literal["holds", "does not hold", "undecided", "too few", "not measured"]


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean of ``values``, and the ends of its 95 % interval by Student's t; those of a single value are itself."""
    average = mean(values)
    if len(values) < 2:
        return average, average, average
    reach = float(student_t.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return average, average - reach, average + reach


def units(results: Sequence[Result], variant: str, metric: str) -> dict[Any, float]:
    """The metric of a variant for every unit in which it was measured."""
    by_task = len({result["task"] for result in results}) >= FEWEST
    found: dict[Any, list[float]] = {}
    for result in results:
        value = result["metrics"].get(metric)
        if result["variant"] == variant and value is not None:
            unit = result["task"] if by_task else (result["task"], result["seed"])
            found.setdefault(unit, []).append(value)
    return {unit: mean(values) for unit, values in found.items()}


def summary(results: Sequence[Result], variants: Sequence[Variant], metrics: Sequence[str]) -> dict[str, Any]:
    """For every variant and metric the mean with its interval, and that of the paired difference to the full method.

    ``{variant: {metric: {"mean", "low", "high", "units", "difference": [mean, low, high] or None}}}``; a metric that
    was measured nowhere is left out.
    """
    table: dict[str, Any] = {}
    for variant in variants:
        table[variant.name] = {}
        for metric in metrics:
            found, full = units(results, variant.name, metric), units(results, FULL, metric)
            if not found:
                continue
            average, low, high = interval(list(found.values()))
            differences = [value - full[unit] for unit, value in found.items() if unit in full]
            table[variant.name][metric] = {
                "mean": average,
                "low": low,
                "high": high,
                "units": len(found),
                "difference": list(interval(differences)) if differences and variant.name != FULL else None,
            }
    return table


def orderings(table: Mapping[str, Any], variants: Sequence[Variant]) -> list[dict[str, Any]]:
    """The paper's orderings: of each the claim, the full method's mean, the difference to it, and the verdict."""
    return [
        {
            "variant": variant.name,
            "claim": claim.text,
            "metric": claim.metric,
            "direction": claim.direction,
            "full": table[FULL].get(claim.metric, {}).get("mean"),
            "difference": found.get("difference"),
            "verdict": verdict(claim, found),
        }
        for variant in variants
        if variant.name in table
        for claim in variant.claims
        for found in [table[variant.name].get(claim.metric, {})]
    ]


def verdict(claim: Claim, found: Mapping[str, Any]) -> Verdict:
    """Whether the interval of the difference lies wholly on the claimed side of zero, on the other, or on both."""
    difference = found.get("difference")
    if difference is None:
        return "not measured"
    if found["units"] < FEWEST:
        return "too few"
    _, low, high = difference
    if low <= 0.0 <= high:
        return "undecided"
    return "holds" if (high < 0.0) == (claim.direction == "lower") else "does not hold"
