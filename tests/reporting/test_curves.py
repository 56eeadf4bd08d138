"""Charts hold what was logged: means, round ticks, lines within the frame, one colour a run."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest

from stages.reporting.curves import BOTTOM, HEIGHT, LEFT, MOST_POINTS, RIGHT, TOP, WIDTH, binned_means, charts, ticks
from stages.reporting.record import read_curves, read_records
from tests.reporting.runs import run_with


def test_bins_are_means_and_keep_the_mean_of_all() -> None:
    steps, values = list(range(1, 101)), [float(step) ** 2 for step in range(1, 101)]
    at, means = binned_means((steps, values), 10)
    assert len(at) == 10 and at[0] == 5.5 and means[0] == pytest.approx(sum(values[:10]) / 10)
    assert sum(means) / 10 == pytest.approx(sum(values) / 100)
    assert binned_means(([4, 8], [1.0, 3.0]), 1) == ([4.0, 8.0], [1.0, 3.0])  # logged now and then only


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0, 4e-18), (-3.2, 7.9), (0.0, 0.0), (0.0, 231.8), (0, 1e30)])
def test_ticks_are_round_and_enclose(low: float, high: float) -> None:
    marks = ticks(low, high)
    assert marks[0] <= low + 1e-9 * abs(low) and marks[-1] >= high * (1 - 1e-9) and len(marks) <= 7
    steps = [b - a for a, b in itertools.pairwise(marks)]
    for step in steps:
        digits = step / 10 ** math.floor(math.log10(step) + 1e-9)
        assert min(abs(digits - wanted) for wanted in (1, 2, 5)) < 1e-6


def test_a_log_is_read_up_to_where_it_is_broken(tmp_path: Path) -> None:
    (tmp_path / "log").write_text('{"step": 1, "loss": 2, "name": "x"}\n[]\n{"step": 2, "loss": NaN}\n{"step": 3, "lo')
    assert read_curves(tmp_path / "log") == {"loss": ([1], [2.0])}
    assert read_curves(tmp_path / "none") == {}


def test_charts_of_runs(tmp_path: Path) -> None:
    first, second = run_with(tmp_path / "a"), run_with(tmp_path / "b")
    for step in range(10, 400):
        second.stage("motion").log_metrics(step, loss=1.0 / step, rare=5.0)
    found = charts(read_records([first.path, second.path]))
    assert [(chart.metric, [line.run for line in chart.lines]) for chart in found] == [
        ("loss", [0, 1]), ("tv", [0, 1]), ("rare", [1])
    ]  # fmt: skip
    for chart in found:
        for line in chart.lines:
            points = [tuple(map(float, point.split(","))) for point in line.points.split()]
            assert len(points) <= MOST_POINTS
            assert all(LEFT <= x <= WIDTH - RIGHT and TOP - 0.1 <= y <= HEIGHT - BOTTOM + 0.1 for x, y in points)
    loss = [float(point.split(",")[1]) for point in found[0].lines[1].points.split()]
    assert loss == sorted(loss)  # down is further down the page
