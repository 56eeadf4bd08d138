"""The table in the documentation is what was measured, of every row that there is."""

from __future__ import annotations

import pytest

from tests.readers.all_rows import ROWS
from tests.readers.judge import BARS, LEAST_DB
from tests.readers.mesh_rows import MESH_ROWS
from tests.readers.table import BEGIN, END, PAGE, measured, page_with, table


def test_the_page_shows_the_results() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page_with(text, table(measured()["rows"])) == text, "run: python -m tests.readers.table"
    assert text.count("| three.js ") > 3 and text.index(BEGIN) < text.index("| three.js ") < text.index(END)


def test_every_row_was_measured_and_kept_its_bars() -> None:
    results = {(row["format"], row["reader"]): row for row in measured()["rows"]}
    assert set(results) == {(row.format, row.reader) for row in ROWS} and len(results) == len(ROWS)
    for row in ROWS:
        told = results[row.format, row.reader]
        assert told["version"] and not row.missed(told["figures"]), row.name
        assert told["says"] == row.says and told["in_ci"] == row.in_ci


@pytest.mark.parametrize("key", BARS)
def test_a_figure_beyond_its_bar_is_a_miss(key: str) -> None:
    row = MESH_ROWS[0]
    assert not row.missed({key: BARS[key]}) and list(row.missed({key: 2.0 * BARS[key] + 1e-9})) == [key]
    assert row.missed({key: float("nan")})
    assert row.missed({"picture_db": LEAST_DB - 1.0}) and not row.missed({"picture_db": LEAST_DB})
