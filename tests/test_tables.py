"""Tables hold what was put in, whatever it is: as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import itertools
import re

import pytest
from markdown_it import MarkdownIt  # which rich brings

from stages.errors import BadInput
from stages.tables import DASH, Cell, Table, as_text, shown

NASTY = [
    'a "quoted" | piped \\ goat', "*bold* _it_ [link](x) `code`", "<script>alert(1)</script> &amp; ~gone~",
    "50 % of $100 #1 {x} ^2", "[first in its row]", "two\nlines", "-", "ümlaut ± ↑",
]  # fmt: skip

TABLE = Table(
    ("metric", "walk & co", "run"),
    [("jerk", Cell(344.23947, best=True), Cell(12.0)), ("clip", Cell(None, "not available"), None)],
    ["jerk: third difference"],
)


def one_line(text: str) -> str:
    return " ".join(text.split())


def cells_of_markdown(text: str) -> list[str]:
    """What a reader of rendered Markdown sees in each cell: text without markup."""
    tokens = MarkdownIt("commonmark").enable("table").enable("strikethrough").parse(text)
    inline = [token for before, token in itertools.pairwise(tokens) if before.type in ("th_open", "td_open")]
    assert all(child.type in ("text", "text_special") for token in inline for child in token.children or [])
    return ["".join(child.content for child in token.children or []) for token in inline]


def test_markdown_shows_every_text_as_it_is() -> None:
    table = Table(("name", *NASTY), [("row", *reversed(NASTY))])
    seen = cells_of_markdown(as_text(table, ".md"))
    assert seen == ["name", *map(one_line, NASTY), "row", *map(one_line, reversed(NASTY))]


def test_markdown_is_readable_as_it_is() -> None:
    assert as_text(TABLE, ".md") == (
        "| metric | walk &amp; co | run |\n"
        "| ------ | ------------: | --: |\n"
        "| jerk   |     **344.2** |  12 |\n"
        f"| clip   | not available |   {DASH} |\n"
        "\n"
        "- jerk: third difference\n"
    )


def test_csv_keeps_plain_values_in_full() -> None:
    rows = list(csv.reader(io.StringIO(as_text(TABLE, ".csv"))))
    assert rows == [["metric", "walk & co", "run"], ["jerk", "344.23947", "12.0"], ["clip", "", ""]]
    nasty = list(csv.reader(io.StringIO(as_text(Table(NASTY, [NASTY]), ".CSV"), newline="")))
    assert nasty == [NASTY, NASTY]


def test_latex_has_as_many_cells_and_no_bare_special() -> None:
    assert as_text(TABLE, ".tex").splitlines() == [
        r"% \usepackage{booktabs}",
        "% jerk: third difference",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"metric & walk \& co & run \\",
        r"\midrule",
        r"jerk & \textbf{344.2} & 12 \\",
        r"clip & not available & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    row = as_text(Table(("x",) * len(NASTY), [NASTY]), ".tex").splitlines()[5].removesuffix(r" \\")
    bare = re.sub(r"\\[{}$&#_%]|\\text\w+\{\}|\$\\\w+\$|\{\[\}", "", row)
    assert not re.search(r"[\\{}$#_%~^<>|\"\[]", bare) and bare.count("&") == len(NASTY) - 1


def test_notes_cannot_leave_their_comment() -> None:
    text = as_text(Table(("a",), [("b",)], ["first\n\\input{/etc/passwd}"]), ".tex")
    assert "% first \\input{/etc/passwd}" in text.splitlines()


def test_other_suffixes_are_refused() -> None:
    for suffix in (".doc", ""):
        with pytest.raises(BadInput, match=r"\.md, \.csv or \.tex"):
            as_text(TABLE, suffix)


def test_values_as_people_read_them() -> None:
    values = {None: DASH, 3: "3", 0.000123456: "0.0001235", 12345.6: "1.235e+04", "x": "x"}
    assert [shown(value) for value in values] == list(values.values())
