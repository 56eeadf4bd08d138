"""A few tries of every campaign in every run of the tests; ``make campaign`` makes the hundreds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.campaigns.disk_full import Full
from tests.campaigns.environment import Elsewhere
from tests.campaigns.faults import EVERY, RENAME, Fault, compiler
from tests.campaigns.flips import FINISHED, Flips
from tests.campaigns.journal import Journal, summary
from tests.campaigns.kill import Kills
from tests.campaigns.lies import Lie, lies_of
from tests.campaigns.memory import Rooms
from tests.campaigns.model_folder import Liars, judged
from tests.campaigns.program import Ended, Program
from tests.campaigns.tried import SPLAT, STAGES, Bases, contents, copy, differences

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


def test_full_disks(program: Program, bases: Bases, tmp_path: Path) -> None:
    full = Full(program, tmp_path)
    full.bases = bases
    for at in (1, 15):
        answer = full.one("reconstruct a splat", at)
        assert answer["well"] and answer["code"] == 7, answer
    small = full.on_small_disk("reconstruct a splat", 16)
    assert small is None or (small["well"] and small["code"] == 7), small


def test_a_flipped_bit(program: Program, bases: Bases, tmp_path: Path) -> None:
    flips = Flips(program, tmp_path)
    flips.bases = bases
    for name, codes in (("asset png", [0, 0]), ("motion of points", [8, 0, 0])):
        answer = flips.finished(FINISHED[name], np.random.default_rng(0))
        assert answer["well"] and answer["mended"] and answer["codes"] == codes, answer


def test_folders_that_lie(program: Program, bases: Bases, tmp_path: Path) -> None:
    liars = Liars(program, tmp_path)
    liars.bases = bases
    lies = list(lies_of(liars.whole("points")[0] / "model", 0, np.random.default_rng(0)))
    chosen = {
        "first tensor in one row": "refused", "a pipe that nobody fills": "refused", "a pickle": "refused",
        "shards: outside": "refused", "pickles beside it": "the same result",
    }  # fmt: skip
    for lie in lies:
        if lie.file.endswith(".safetensors") and lie.name in chosen:
            answer = liars.one("points", lie)
            assert answer["well"] and answer["how"] == chosen[lie.name], (lie.name, answer)


def test_little_memory(program: Program, bases: Bases, tmp_path: Path) -> None:
    rooms = Rooms(program, tmp_path)
    rooms.bases = bases
    tries = [("distill, points", 100), ("render 40 frames of 512 pixels", 150), ("export splats", 300)]
    answers = [rooms.one(*one) for one in tries]
    assert all(answer["well"] for answer in answers), answers
    assert [answer["ended"] for answer in answers] == ["before", "before", "worked"]
    assert answers[1]["fits"].startswith("--size ")


def test_a_lie_that_is_believed_is_seen(tmp_path: Path) -> None:
    """Else every folder would go well."""
    lie = Lie("a pickle", "model.safetensors", lambda path, trap: None)
    for code, said, why in (
        (0, "", "taken for whole"),
        (1, "unexpected\n", "exit code 1"),
        (3, "a\nb\n", "exit code 3"),
    ):
        ended = Ended(code, 0.0, "", said, 0, "", 0, "")
        assert why in judged(ended, lie, {"run/a": b"1"}, {"run/a": b"1"}, {"run/a": b"2"})[1][0]


def test_odd_surroundings(tmp_path: Path) -> None:
    answer = Elsewhere(tmp_path, (SPLAT,)).one("everything odd")
    assert answer["well"], answer


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
