"""What we write, read by other people's programs: it opens, upright, in its size, colours and motion.

    make readers

installs what npm has; a reader that is not there is skipped with the line that installs it.
"""

from __future__ import annotations

import pytest

from tests.readers.all_rows import ROWS
from tests.readers.programs import NotInstalled
from tests.readers.rows import Outputs, Row


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    return Outputs(tmp_path_factory.mktemp("outputs"))


@pytest.mark.parametrize(
    "row", [pytest.param(row, marks=() if row.in_ci else pytest.mark.slow, id=row.name) for row in ROWS]
)
def test_it_is_read_as_it_was_meant(row: Row, outputs: Outputs) -> None:
    try:
        figures = row.measure(outputs)
    except NotInstalled as error:
        pytest.skip(str(error))
    assert figures and not row.missed(figures), figures
