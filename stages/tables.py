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

DASH = "\N{EN DASH}"
"""What is shown where there is nothing."""


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

    def texts(self) -> list[list[str]]:
        """The rows as people read them, nothing escaped or marked."""
        return [[cell.shown if isinstance(cell, Cell) else shown(cell) for cell in row] for row in self.rows]


def shown(value: Value) -> str:
    """A value as people read it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return DASH if value is None else str(value)


def as_text(table: Table, suffix: str) -> str:
    """``table`` as the text of a file that ends in ``suffix``. Raises ``BadInput`` when no format has it."""
    if suffix.lower() not in WRITERS:
        raise BadInput(f"A table cannot be written as {suffix or 'a file without a suffix'}.", f"Use {SUFFIXES}.")
    return WRITERS[suffix.lower()](table)


def markdown(table: Table) -> str:
    """GitHub's Markdown, columns padded so that it can be read as it is, those with numbers to the right."""
    rows = [[_bold(cell, "**", "**", escape_markdown) for cell in row] for row in [table.heads, *table.rows]]
    right, widths = _numeric(table), [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * (width - 1) + (":" if number else "-") for width, number in zip(widths, right, strict=True)]
    lines = []
    for row in (rows[0], rule, *rows[1:]):
        padded = zip(row, widths, right, strict=True)
        cells = (text.rjust(width) if number else text.ljust(width) for text, width, number in padded)
        lines.append("| " + " | ".join(cells) + " |")
    notes = [f"- {escape_markdown(note)}" for note in table.notes]
    return "\n".join(lines + ([""] if notes else []) + notes) + "\n"


def latex(table: Table) -> str:
    """A ``tabular`` in the manner of booktabs; the notes are comments above it, for the caption."""
    rows = [" & ".join(_bold(cell, r"\textbf{", "}", escape_latex) for cell in row) + r" \\" for row in table.rows]
    heads = " & ".join(map(escape_latex, table.heads)) + r" \\"
    notes = [f"% {' '.join(note.split())}" for note in table.notes]
    columns = "".join("r" if number else "l" for number in _numeric(table))
    begin, end = rf"\begin{{tabular}}{{{columns}}}", r"\end{tabular}"
    package = r"% \usepackage{booktabs}"
    return "\n".join([package, *notes, begin, r"\toprule", heads, r"\midrule", *rows, r"\bottomrule", end]) + "\n"


def _numeric(table: Table) -> list[bool]:
    """Which columns hold any number."""
    values = [[cell.value if isinstance(cell, Cell) else cell for cell in row] for row in table.rows]
    return [any(isinstance(row[column], int | float) for row in values) for column in range(len(table.heads))]


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
    "\N{MULTIPLICATION SIGN}": r"$\times$", DASH: "--", "\N{EM DASH}": "---",
}  # fmt: skip
"""Characters that mean something to LaTeX, ``[`` because it would be an argument of the line's end before it."""


def escape_latex(text: str) -> str:
    """Text that LaTeX sets as it is, on one line."""
    return "".join(LATEX.get(letter, letter) for letter in " ".join(text.split()))


WRITERS: dict[str, Callable[[Table], str]] = {".md": markdown, ".csv": comma_separated, ".tex": latex}
"""Suffix -> what makes such a text."""

SUFFIXES = ".md, .csv or .tex"
