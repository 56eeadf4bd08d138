"""The jobs of a batch from a table, or from a folder of assets and a file of sentences.

    asset,prompt,seed,distill.motion
    deer.ply,a jumping deer,1,
    fox.glb,a running fox,,skeleton

The table is CSV in UTF-8, with or without a byte order mark. ``asset`` is a file, sought beside the table, or a URL.
``name`` names the run directory. Every other column is a setting; an empty cell leaves it as it is.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from stages.errors import AnimusError, BadInput, first_line
from stages.jobs.job import Job, name_of

OWN = ("asset", "prompt", "name")
"""Columns that are no settings."""

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?<![.])"
"""What a run directory may be called."""

MOST_TOLD = 3
"""Bad lines that one error quotes."""

Check = Callable[[Mapping[str, str]], object]
"""Raises ``BadInput`` for settings that no job can have."""


def is_url(text: str) -> bool:
    """Whether ``text`` names something by its protocol, as in s3://bucket/deer.ply."""
    return re.match(r"[a-z][a-z0-9+.-]+://", text) is not None


def read_table(path: Path, sets: Callable[[str], object], check: Check) -> list[Job]:
    """The jobs of a ``.csv``, in its order.

    Args:
        sets: raises ``BadInput`` for a column that is no setting.
        check: is asked about the settings of every line.

    Raises:
        BadInput: no such file, no CSV, an unknown column, no job, or lines that are none: each with its number.
    """
    heads, rows = _rows(path)
    _check_heads(path, heads, sets)
    jobs, wrong = [], []
    lines: dict[str, int] = {}
    for number, row in rows:
        try:
            job = _job(row, path.parent, check)
            if job.name.lower() in lines:
                raise BadInput(f"it is the same job as line {lines[job.name.lower()]}; remove one of them")
            lines[job.name.lower()] = number
            jobs.append(job)
        except AnimusError as error:
            wrong.append(f"line {number}: {str(error).rstrip('.')}")
    if wrong:
        more = f"; and {len(wrong) - MOST_TOLD} more lines" if len(wrong) > MOST_TOLD else ""
        raise BadInput(f"{path}: {'; '.join(wrong[:MOST_TOLD])}{more}.", "Nothing was begun.")
    if not jobs:
        raise BadInput(f"{path} has no jobs.", f"Write one a line below {','.join(heads)}.")
    return jobs


def product(folder: Path, prompts: Path, suffixes: Iterable[str], check: Check) -> list[Job]:
    """Every asset in ``folder`` with every line of ``prompts``; empty lines and those that begin with # do not count.

    Raises:
        BadInput: there is no such folder or file, or no asset or no sentence in it.
    """
    if not folder.is_dir():
        raise BadInput(f"There is no folder {folder}.", "Check the path given with --assets.")
    known = {suffix.lower() for suffix in suffixes}
    files = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in known and path.name[0] != ".")
    if not files:
        raise BadInput(f"{folder} has no assets.", f"An asset is one of: {', '.join(sorted(known))}.")
    lines = [line.strip() for line in _text(prompts).splitlines()]
    said = list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not said:
        raise BadInput(f"{prompts} has no sentences.", "Write one a line, such as: a walking goat")
    check({})
    rows = [{"asset": file, "prompt": prompt} for file in files for prompt in said]
    return [_job(row, folder, lambda _: None) for row in rows]


def _text(path: Path) -> str:
    """The text of a file. Raises ``BadInput``."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadInput(f"There is no file {path}.", "Check the path.") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8: {first_line(error)}.", "Save it as UTF-8.") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {first_line(error)}.", "Check the path.") from None


def _rows(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The heads, and every line that is not empty: its number in the file, and its cells by their heads."""
    reader = csv.reader(_text(path).splitlines(keepends=True), strict=True)
    heads: list[str] = []
    rows, begins = [], 1
    try:
        for cells in reader:
            cells, number, begins = [cell.strip() for cell in cells], begins, reader.line_num + 1
            if not any(cells):
                continue
            if not heads:
                heads = cells
                continue
            if len(cells) > len(heads):
                what = f"line {number} has {len(cells)} cells, and there are {len(heads)} columns"
                raise BadInput(f"{path}: {what}.", 'A sentence with a comma in it is written "like this, quoted".')
            rows.append((number, {head: cell for head, cell in zip(heads, cells, strict=False) if cell}))
    except csv.Error as error:
        raise BadInput(
            f"{path}: line {reader.line_num} is not CSV: {first_line(error)}.", "Write asset,prompt and settings."
        ) from None
    return heads, rows


def _check_heads(path: Path, heads: list[str], sets: Callable[[str], object]) -> None:
    """Raise ``BadInput`` unless every column is known, and stands once."""
    for head in heads:
        if heads.count(head) > 1:
            raise BadInput(f"{path} has two columns {head!r}.", "Rename or remove one.")
        if head not in OWN:
            try:
                sets(head)
            except BadInput as error:
                raise BadInput(f"{path}, column {head!r}: {error.what}", error.hint) from None
    if missing := [name for name in ("asset", "prompt") if name not in heads]:
        raise BadInput(f"{path} has no column {missing[0]!r}.", "Its first line is: asset,prompt and settings.")


def _job(row: Mapping[str, str], beside: Path, check: Check) -> Job:
    """The job of a line. Raises ``BadInput``."""
    settings = {name: text for name, text in row.items() if name not in OWN}
    for name in ("asset", "prompt"):
        if not row.get(name):
            raise BadInput(f"there is no {name}")
    name = row.get("name", "")
    if name and re.fullmatch(NAME, name) is None:
        raise BadInput(f"{name!r} cannot name a folder: use letters, digits, dots and dashes")
    check(settings)
    asset = row["asset"]
    file = asset if is_url(asset) else str((beside / asset).absolute())
    job = Job(name=name, asset=asset, file=file, prompt=row["prompt"], settings=settings)
    return job if name else Job(**{**job.as_json(), "name": name_of(asset, job.identity)})
