"""A few tries of every campaign in every run of the tests; ``make campaign`` makes the hundreds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.campaigns.faults import EVERY, RENAME, Fault, compiler
from tests.campaigns.journal import Journal, summary
from tests.campaigns.kill import Kills
from tests.campaigns.program import Program
from tests.campaigns.tried import STAGES, Bases, contents, copy, differences

pytestmark = pytest.mark.skipif(compiler() is None, reason="there is no C compiler")


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    with Program() as started:
        yield started


@pytest.fixture(scope="module")
def bases(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Bases:
    return Bases(program, tmp_path_factory.mktemp("campaigns") / "bases")


def test_kills(program: Program, bases: Bases, tmp_path: Path) -> None:
    kills = Kills(program, tmp_path)
    kills.bases = bases
    for number, (stage, way) in enumerate([("distill, points", "rename"), ("reconstruct a splat", "any call")]):
        answer = kills.one(stage, way, np.random.default_rng(number))
        assert answer["well"] and answer["killed"], answer


def test_a_fault_is_seen(program: Program, bases: Bases, tmp_path: Path) -> None:
    """Calls are counted, a kill kills, and what is missing then is told: else every try would go well."""
    place, tried = tmp_path / "try", STAGES["reconstruct a splat"]
    copy(bases.after(tried.before), place)
    whole = program.run(tried.line, place, Fault(kinds=EVERY))
    assert whole.code == 0 and whole.calls > 10
    straight = contents(place)
    copy(bases.after(tried.before), place)
    ended = program.run(tried.line, place, Fault("kill before", 1, RENAME))
    assert ended.killed and ended.last == "link /run/.lock.json"
    assert any("missing" in line for line in differences(straight, contents(place)))


def test_a_journal_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    journal = Journal(path)
    journal.answer("1", lambda: {"well": True})
    journal.answer("2", lambda: {"well": False, "why": ["it broke"]})
    with path.open("a") as file:
        file.write('{"key": "3", "we')  # killed there
    again = Journal(path)
    assert summary(again.known) == {
        "tries": 2,
        "well": 1,
        "findings": [{"try": "2", "well": False, "why": ["it broke"]}],
    }
    assert again.answer("1", lambda: pytest.fail("it is known")) == {"well": True}
    again.answer("3", lambda: {"well": True})
    assert list(Journal(path).known) == ["1", "2", "3"]
