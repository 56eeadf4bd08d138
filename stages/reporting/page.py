"""The templates of this folder, filled: pages of one file that load nothing; and tables to go with them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.events import Report, Wrote
from stages.files import readable, replacing
from stages.tables import Table, as_text

PAGES = (".html", ".htm")
"""What a page's name ends in."""

ELSEWHERE = "Choose another path."
"""What to do when a page or table cannot be written."""

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def base64_text(data: bytes) -> str:
    """Bytes as they stand in a page."""
    return base64.b64encode(data).decode("ascii")


TEMPLATES.filters["base64"] = base64_text


def fill(template: str, **values: Any) -> str:
    """The page that ``template`` makes of ``values``; every text in them is escaped."""
    return readable(TEMPLATES.get_template(template).render(**values))


def write_tables(table: Table, paths: list[Path], report: Report) -> None:
    """Write ``table`` to each of ``paths``, as its suffix says; none where one of them is not a table's.

    Raises:
        BadInput: a suffix that no table has.
        CannotWrite: a file cannot be written; what was there before is kept.
    """
    texts = [(path, readable(as_text(table, path.suffix))) for path in paths]
    for path, text in texts:
        with replacing(path, ELSEWHERE) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="")
        report(Wrote(path, f"{len(table.rows)} rows"))
