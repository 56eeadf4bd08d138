"""Single results as CSV come back as they were."""

from __future__ import annotations

from pathlib import Path

from tests.bench.record import read_rows, write_rows


def test_rows_come_back(tmp_path: Path) -> None:
    rows = [
        {"recipe": "true", "cyclic": True, "seed": 0, "named": "walk, slowly", "cosine": 0.5},
        {"recipe": "12", "seed": 1, "names": ["a", "b"], "cosine": -1e-9},
    ]
    write_rows(tmp_path / "rows.csv", [{**rows[0], "missing": None}, rows[1]])
    assert read_rows(tmp_path / "rows.csv") == rows
    assert read_rows(tmp_path / "none.csv") == []
