"""A table as Markdown, CSV or LaTeX: by the suffix of the file that it is for.

    as_text(Table(("metric", "walk", "run"), [("jerk", Cell(344.2), Cell(12.9, best=True))]), ".md")

Markdown and LaTeX show what people read: four digits, the best in bold, notes below. CSV holds the plain values in full
and nothing else. Whatever a text contains (a prompt may contain anything), it stays one cell.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stages.errors import BadInput

Value = str | float | int | None


@dataclass(frozen=True)
class Cell:
    """One value; ``text`` is what people see instead of it, ``best`` makes that bold."""

    value: Value
    text: str | None = None
    best: bool = False

    @property
    def shown(self) -> str:
        """``text``, else the value: numbers with four digits, nothing as a dash."""
        return self.text if self.text is not None else shown(self.value)


@dataclass(frozen=True)
class Table:
    """Heads and rows, each as long as the heads; ``notes`` are sentences to stand below."""

    heads: Sequence[str]
    rows: Sequence[Sequence[Cell | Value]]
    notes: Sequence[str] = ()


def shown(value: Value) -> str:
    """A value as people read it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "–" if value is None else str(value)


def as_text(table: Table, suffix: str) -> str:
    """``table`` as the text of a file that ends in ``suffix``. Raises ``BadInput`` when no format has it."""
    if suffix.lower() not in WRITERS:
        raise BadInput(f"A table cannot be written as {suffix or 'a file without a suffix'}.", f"Use {SUFFIXES}.")
    return WRITERS[suffix.lower()](table)


def markdown(table: Table) -> str:
    """GitHub's Markdown, columns padded so that it can be read as it is; all but the first stand to the right."""
    rows = [[_bold(cell, "**", "**", escape_markdown) for cell in row] for row in [table.heads, *table.rows]]
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * width if column == 0 else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    lines = [
        "| " + " | ".join(f"{text:<{w}}" if c == 0 else f"{text:>{w}}" for c, (text, w) in enumerate(zip(row, widths)))
        + " |"
        for row in (rows[0], rule, *rows[1:])
    ]  # fmt: skip
    notes = [f"- {escape_markdown(note)}" for note in table.notes]
    return "\n".join(lines + ([""] if notes else []) + notes) + "\n"


def latex(table: Table) -> str:
    """A ``tabular`` in the manner of booktabs; the notes are comments above it, for the caption."""
    rows = [" & ".join(_bold(cell, r"\textbf{", "}", escape_latex) for cell in row) + r" \\" for row in table.rows]
    heads = " & ".join(map(escape_latex, table.heads)) + r" \\"
    notes = [f"% {' '.join(note.split())}" for note in table.notes]
    columns = "l" + "r" * (len(table.heads) - 1)
    begin, end = rf"\begin{{tabular}}{{{columns}}}", r"\end{tabular}"
    package = r"% \usepackage{booktabs}"
    return "\n".join([package, *notes, begin, r"\toprule", heads, r"\midrule", *rows, r"\bottomrule", end]) + "\n"


def comma_separated(table: Table) -> str:
    """CSV (RFC 4180) of the values."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(table.heads)
    writer.writerows([cell.value if isinstance(cell, Cell) else cell for cell in row] for row in table.rows)
    return file.getvalue()


def _bold(cell: Cell | Value, before: str, after: str, escape: Callable[[str], str]) -> str:
    text = escape(cell.shown if isinstance(cell, Cell) else shown(cell))
    return f"{before}{text}{after}" if isinstance(cell, Cell) and cell.best else text


def escape_markdown(text: str) -> str:
    """Text that GitHub's Markdown shows as it is, on one line: also ``|``, emphasis, links and HTML."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]~|$#])", r"\\\1", text)


LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "[": "{[}", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$",
    "×": r"$\times$", "–": "--", "—": "---", "…": r"\dots{}",
}  # fmt: skip
"""Characters that mean something to LaTeX, ``[`` because it would be an argument of the line's end before it."""


def escape_latex(text: str) -> str:
    """Text that LaTeX sets as it is, on one line."""
    return "".join(LATEX.get(letter, letter) for letter in " ".join(text.split()))


WRITERS: dict[str, Callable[[Table], str]] = {".md": markdown, ".csv": comma_separated, ".tex": latex}
"""Suffix -> what makes such a text."""

SUFFIXES = ".md, .csv or .tex"
