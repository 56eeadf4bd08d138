"""The count of a preference study: shares with Wilson's interval, and nothing counted that is not an answer."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from stages.errors import BadInput
from stages.reporting.study import COLUMNS, QUESTIONS, Key, new_key, read_answers, read_key, shares, shares_table


def key_of(*names: str, sets: int = 2) -> Key:
    return new_key([(f"prompt {index}", names, [Path(name) / str(index) for name in names]) for index in range(sets)])


def save(path: Path, key: Key, choices: list[tuple[str, int, str, str]], page: str | None = None) -> Path:
    """A CSV as the page writes it; choices are (participant, set, question, name)."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for when, (who, index, question, name) in enumerate(choices):
            clips = key.sets[index].clips
            chosen = next((clip for clip, one in clips.items() if one.name == name), name)
            prompt, stamp = key.sets[index].prompt, f"2026-01-01T00:00:{when:02d}.000Z"
            writer.writerow([page or key.page, who, prompt, question, " ".join(clips), chosen, stamp])
    return path


def wilson(won: int, of: int) -> tuple[float, float]:
    """Wilson 1927, with the 97.5 % point of the normal distribution."""
    z, p = 1.959963984540054, won / of
    middle, half = (p + z * z / (2 * of)), z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    return (middle - half) / (1 + z * z / of), (middle + half) / (1 + z * z / of)


def test_shares_count_over_all_sets_with_wilsons_interval(tmp_path: Path) -> None:
    key = key_of("msd", "sds")
    choices = [(f"p{who}", index, "overall", "msd" if who < 3 else "sds") for who in range(4) for index in range(2)]
    found = {one.name: one for one in shares(read_answers([save(tmp_path / "a.csv", key, choices)], key))}
    assert (found["msd"].won, found["msd"].shown, found["sds"].won) == (6, 8, 2)
    assert (found["msd"].low, found["msd"].high) == pytest.approx(wilson(6, 8), abs=1e-9)
    assert (found["sds"].low, found["sds"].high) == pytest.approx(wilson(2, 8), abs=1e-9)


def test_shares_of_a_question_add_up_and_the_most_chosen_is_marked(tmp_path: Path) -> None:
    key = key_of("a", "b", "c", sets=1)
    choices = [(f"p{who}", 0, question, "abc"[who % 3 and 1]) for who in range(5) for question in QUESTIONS]
    answers = read_answers([save(tmp_path / "a.csv", key, choices)], key)
    for question in QUESTIONS:
        assert sum(one.share for one in shares(answers) if one.question == question) == pytest.approx(1.0)
    table = shares_table(answers)
    assert [row[1] for row in table.rows if row[4].best] == ["b"] * 5  # type: ignore[union-attr]
    assert "5 participants; by chance a run would win 33 %." in table.notes


def test_an_answer_counts_once_and_the_last_one(tmp_path: Path) -> None:
    key = key_of("msd", "sds", sets=1)
    first = save(tmp_path / "a.csv", key, [("p", 0, "overall", "msd"), ("p", 0, "overall", "sds")])
    answers = read_answers([first, first], key)
    assert [(one.name, one.won, one.shown) for one in shares(answers)] == [("msd", 0, 1), ("sds", 1, 1)]


def test_names_are_random_and_the_key_reads_back(tmp_path: Path) -> None:
    key = key_of("msd", "sds")
    (tmp_path / "key.json").write_text(json.dumps(key.as_json()))
    assert read_key(tmp_path / "key.json") == key
    names = [name for one in key.sets for name in one.clips]
    assert len(set(names)) == 4 and not {"msd", "sds"} & set(names)
    assert not set(names) & {name for one in key_of("msd", "sds").sets for name in one.clips}


def test_what_the_page_did_not_write_is_refused(tmp_path: Path) -> None:
    key = key_of("msd", "sds")
    good = [("p", 0, "overall", "msd")]
    cases = {
        "another page": save(tmp_path / "page.csv", key, good, page="zzz"),
        r"Line 3 of .*question or a clip": save(tmp_path / "clip.csv", key, [*good, ("p", 0, "overall", "xyz")]),
        r"Line 2 of .*question or a clip": save(tmp_path / "question.csv", key, [("p", 0, "taste", "msd")]),
        "no answers": save(tmp_path / "empty.csv", key, []),
        "cannot be read": tmp_path / "none.csv",
    }
    (tmp_path / "cut.csv").write_text((save(tmp_path / "x.csv", key, good)).read_text()[:-40])
    cases["cut short"] = tmp_path / "cut.csv"
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    cases["not a CSV that the page"] = tmp_path / "other.csv"
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00page")
    cases["bytes.csv cannot be read"] = tmp_path / "bytes.csv"
    for match, path in cases.items():
        with pytest.raises(BadInput, match=match):
            read_answers([path], key)


@pytest.mark.parametrize("content", ["", "[]", '{"format": 2}', '{"format": 1, "page": "x", "sets": [{"prompt": ""}]}'])
def test_a_damaged_key_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "key.json").write_text(content)
    with pytest.raises(BadInput, match=r"key\.json is not a key"):
        read_key(tmp_path / "key.json")
