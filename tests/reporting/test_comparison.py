"""What is called the best, what differs between runs, and what is recorded about how they were made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages.reporting.comparison import measures, metrics_table, provenance_rows, setting_rows
from stages.reporting.record import RunRecord, distinct_names, read_records
from tests.reporting.runs import measured, run_with


def records(tmp_path: Path, *values: dict[str, float | None]) -> list[RunRecord]:
    runs = [measured(run_with(tmp_path / f"run{index}", seed=index), **one) for index, one in enumerate(values)]
    return read_records([run.path for run in runs])


def best(tmp_path: Path, *values: dict[str, float | None]) -> dict[str, list[bool]]:
    return {one.name: [cell.best for cell in one.cells] for one in measures(records(tmp_path, *values))}


def test_the_best_is_the_lowest_or_the_highest_where_that_is_known(tmp_path: Path) -> None:
    found = best(
        tmp_path,
        {"jerk": 3.0, "psnr": 20.0, "amplitude": 1.0},
        {"jerk": 1.0, "psnr": 30.0, "amplitude": 2.0},
        {"jerk": 1.0, "psnr": None, "amplitude": 9.0},
    )
    assert found == {"jerk": [False, True, True], "psnr": [False, True, False], "amplitude": [False, False, False]}


def test_there_is_no_best_of_one_or_of_equals(tmp_path: Path) -> None:
    assert best(tmp_path, {"jerk": 3.0, "psnr": 5.0}, {"jerk": 3.0}) == {"jerk": [False] * 2, "psnr": [False] * 2}


def test_equal_as_shown_is_equally_good(tmp_path: Path) -> None:
    assert best(tmp_path, {"jerk": 1.00001}, {"jerk": 1.0}, {"jerk": 2.0})["jerk"] == [True, True, False]


def test_a_warning_is_told_and_a_shift_is_no_condition(tmp_path: Path) -> None:
    runs = [measured(run_with(tmp_path / name), jerk=index + 1.0) for index, name in enumerate("ab")]
    for shift, run in enumerate(runs):
        path = run.path / "eval" / "metrics.json"
        content = json.loads(path.read_text())
        content["metrics"]["jerk"] |= {"shift": shift, "warning": "From few samples."}
        path.write_text(json.dumps(content))
    one = measures(read_records([run.path for run in runs]))[0]
    assert [cell.best for cell in one.cells] == [True, False] and one.note.endswith(". From few samples")


def test_no_number_is_not_the_best(tmp_path: Path) -> None:
    assert best(tmp_path, {"jerk": float("nan")}, {"jerk": 3.0}, {"jerk": 4.0})["jerk"] == [False, True, False]


@pytest.mark.parametrize(("key", "value"), [("definition", "another"), ("backbone", "x"), ("samples", 9)])
def test_what_was_measured_otherwise_is_not_compared(tmp_path: Path, key: str, value: object) -> None:
    records(tmp_path, {"jerk": 3.0}, {"jerk": 1.0})
    path = tmp_path / "run1" / "eval" / "metrics.json"
    content = json.loads(path.read_text())
    content["metrics"]["jerk"][key] = value
    path.write_text(json.dumps(content))
    one = measures(read_records([tmp_path / "run0", tmp_path / "run1"]))[0]
    assert not any(cell.best for cell in one.cells) and "not measured in the same way" in one.note


def test_an_unavailable_metric_says_how_to_get_it(tmp_path: Path) -> None:
    records(tmp_path, {"jerk": None}, {"jerk": 2.0})
    path = tmp_path / "run0" / "eval" / "metrics.json"
    content = json.loads(path.read_text())
    content["metrics"]["jerk"]["unavailable"] = "hf download some/net"
    content["metrics"]["psnr"] = {"value": None, "unavailable": "--psnr NET"}
    path.write_text(json.dumps(content))
    table = metrics_table(read_records([tmp_path / "run0", tmp_path / "run1"]))
    assert table.texts() == [["jerk", "x", "↓", "not available", "2"]]
    assert "hf download some/net" in table.notes[0] and "third difference" in table.notes[0]
    assert len(table.rows) == 1 and table.notes[1].endswith("how to get it: --psnr NET")  # a note, not an empty row


def test_only_settings_that_differ_are_listed(tmp_path: Path) -> None:
    differing = setting_rows(records(tmp_path, {}, {}), differing=True)
    assert [(command, [row.head for row in rows]) for command, rows in differing] == [("distill", ["seed"])]
    everything = dict(setting_rows(records(tmp_path, {}, {}), differing=False))["distill"]
    assert [row.head for row in everything] == ["prompt", "seed", "steps", "device", "field.multires", "from asset"]
    assert {row.head: row.cells[0] for row in everything}["field.multires"] == "1,2"
    assert [row.same for row in everything] == [True, False, True, True, True, True]


def test_a_stage_that_only_some_have_differs(tmp_path: Path) -> None:
    first, second = (run_with(tmp_path / name) for name in ("a", "b"))
    (second.path / "refined").mkdir()
    (second.path / "refined" / "config.json").write_text(json.dumps({"settings": {"steps": 5}, "inputs": {}}))
    differing = dict(setting_rows(read_records([first.path, second.path]), differing=True))
    assert [(row.head, row.cells) for row in differing["refine"]] == [("state", ["not run", "interrupted"])]


def test_provenance_is_what_finish_recorded_or_not_recorded(tmp_path: Path) -> None:
    new, old = (run_with(tmp_path / name) for name in ("new", "old"))
    made = json.loads((new.path / "motion" / "complete.json").read_text())["made_with"]
    complete = json.loads((old.path / "motion" / "complete.json").read_text())
    del complete["made_with"], complete["seal"]
    (old.path / "motion" / "complete.json").write_text(json.dumps(complete))
    rows = {row.head: row.cells for row in dict(provenance_rows(read_records([new.path, old.path])))["distill"]}
    assert f"torch {made['versions']['torch']}" in rows["software"][0] and made["processor"] in rows["hardware"][0]
    assert rows["software"][1] == rows["system"][1] == "not recorded" and "not recorded" in rows["hardware"][1]
    assert rows["seed"] == ["0", "0"] and rows["took"][0].startswith("9 steps, ")


def test_names_are_what_sets_paths_apart() -> None:
    def names(*paths: str) -> list[str]:
        return distinct_names([Path(path) for path in paths])

    assert names("/x/msd/walk", "/x/sds/walk") == ["msd", "sds"]
    assert names("/x/walk", "/x/run") == ["walk", "run"]
    assert names("/x/walk") == ["walk"]
    assert names("/x", "/x/y") == ["x", "x/y"]
    assert names("/x/a/b/run", "/x/a/c/run", "/x/d/b/run") == ["a/b", "a/c", "d/b"]
