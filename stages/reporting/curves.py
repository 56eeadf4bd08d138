"""What stages logged, as small charts: numbers in the units of an SVG, which the template draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stages.reporting.record import Curve, RunRecord

WIDTH, HEIGHT = 320, 168
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 22
"""Margins of the plot within the chart."""

MOST_POINTS = 80
"""Points of a line: of a longer log each is the mean of several steps, which also shows the trend through the noise."""


@dataclass(frozen=True)
class Line:
    """One run's curve."""

    run: int  # its place among the runs
    points: str  # of an SVG polyline


@dataclass(frozen=True)
class Tick:
    """A mark on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """One metric of one stage over its steps, a line a run."""

    command: str
    metric: str
    lines: list[Line]
    across: list[Tick]  # x
    up: list[Tick]  # y
    per_point: int  # how many steps a point is the mean of, at most


def charts(records: Sequence[RunRecord]) -> list[Chart]:
    """A chart for everything that any stage of any run has logged more than once, stage by stage."""
    found: dict[tuple[str, str], dict[int, Curve]] = {}
    for command in ("fit-lora", "distill", "refine"):
        for index, record in enumerate(records):
            stage = record.stages.get(command)
            for metric, curve in (stage.curves if stage else {}).items():
                if len(curve[0]) > 1:
                    found.setdefault((command, metric), {})[index] = curve
    return [_chart(command, metric, curves) for (command, metric), curves in found.items()]


def _chart(command: str, metric: str, curves: dict[int, Curve]) -> Chart:
    end = max(steps[-1] for steps, _ in curves.values())
    width = max(1, math.ceil(end / MOST_POINTS))
    binned = {run: binned_means(curve, width) for run, curve in curves.items()}
    values = [value for _, means in binned.values() for value in means]
    up = ticks(min(0.0, *values), max(values))
    low, high = min(up[0], *values), max(up[-1], *values)

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / max(end, 1)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / ((high - low) or 1.0)

    lines = [
        Line(run, " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in zip(*curve, strict=True)))
        for run, curve in binned.items()
    ]
    across = [Tick(x(value), f"{value:g}") for value in ticks(0, end) if value <= end]
    return Chart(command, metric, lines, across, [Tick(y(value), f"{value:g}") for value in up], width)


def binned_means(curve: Curve, width: int) -> tuple[list[float], list[float]]:
    """Mean step and mean value of every ``width`` steps that hold any."""
    bins: dict[int, list[tuple[int, float]]] = {}
    for step, value in zip(*curve, strict=True):
        bins.setdefault((step - 1) // width, []).append((step, value))
    steps = [sum(step for step, _ in one) / len(one) for one in bins.values()]
    return steps, [sum(value for _, value in one) / len(one) for one in bins.values()]


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from at most ``low`` to at least ``high``."""
    span = (high - low) or abs(high) or 1.0
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12 - math.floor(math.log10(step))) for index in range(first, last + 1)]
