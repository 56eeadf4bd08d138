"""The table of readers, measured: ``make readers``. Results in ``tests/bench/results/readers.json``, from which the
table in ``docs/formats.md`` is made."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.record import finish
from tests.readers import table
from tests.readers.all_rows import ROWS
from tests.readers.programs import NotInstalled
from tests.readers.rows import Outputs


def main() -> int:
    """Measure every row; 1: a figure misses its bar, or a reader is not installed."""
    measured: list[dict[str, Any]] = []
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        outputs = Outputs(Path(folder))
        for row in ROWS:
            try:
                figures = row.measure(outputs)
            except NotInstalled as error:
                print(f"{row.name}: {error}", file=sys.stderr)
                failed += 1
                continue
            rounded = {key: float(f"{value:.2g}") for key, value in figures.items()}
            missed = row.missed(figures)
            failed += bool(missed)
            print(f"{row.name}: {rounded}{' MISSED ' + ', '.join(missed) if missed else ''}", file=sys.stderr)
            about = {"format": row.format, "reader": row.reader, "version": row.version(), "says": row.says}
            measured.append(about | {"in_ci": row.in_ci, "figures": rounded})
    if failed:
        print(f"{failed} rows failed: nothing is written.", file=sys.stderr)
        return 1
    finish("readers", {"rows": measured}, "make readers")
    table.main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
