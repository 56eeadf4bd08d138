"""Which asset does what: from the command line and from a table, good and bad."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.ablation.tasks import Task, read_tasks, tasks_of
from stages.errors import BadInput


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("deer.ply", "fox.ply"):
        (tmp_path / name).touch()
    return tmp_path


def test_every_asset_with_every_sentence(place: Path) -> None:
    tasks = tasks_of([place / "deer.ply", place / "fox.ply"], ["it jumps", "it runs"])
    assert [task.name for task in tasks] == ["deer-it-jumps", "deer-it-runs", "fox-it-jumps", "fox-it-runs"]


def test_a_table_names_files_beside_it(place: Path) -> None:
    table = place / "tasks.csv"
    table.write_text("asset,prompt,object,truth\ndeer.ply,a jumping deer,deer,fox.ply\nfox.ply,a fox runs,,\n")
    assert read_tasks(table) == [
        Task(str(place / "deer.ply"), "a jumping deer", "deer", "", str(place / "fox.ply")),
        Task(str(place / "fox.ply"), "a fox runs"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "none"),
        ("file,prompt\ndeer.ply,x\n", "file,prompt"),
        ("asset,prompt\n", "no tasks"),
        ("asset,prompt\ndeer.ply,\n", "Line 2"),
        ("asset,prompt\ndeer.ply,a,b\n", "Line 2"),
        ("asset,prompt\ncat.ply,it runs\n", "cat.ply"),
        ("asset,prompt\ndeer.ply,it runs\ndeer.ply,It runs!\n", "Two tasks"),
        ('asset,prompt\n"deer.ply,it runs\n', "not a table"),
    ],
)
def test_bad_tables_are_told(place: Path, text: str, said: str) -> None:
    table = place / "tasks.csv"
    table.write_text(text)
    with pytest.raises(BadInput, match=said):
        read_tasks(table)


def test_nothing_to_do_is_told(place: Path) -> None:
    for assets, prompts in (([], ["it runs"]), ([place / "deer.ply"], []), ([place / "deer.ply"], [" "])):
        with pytest.raises(BadInput, match="needs assets and sentences"):
            tasks_of(assets, prompts)
