"""The table in ``docs/formats.md``, from ``tests/bench/results/readers.json``: ``python -m tests.readers.table``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.bench.record import RESULTS

PAGE = Path(__file__).parent.parent.parent / "docs" / "formats.md"
BEGIN, END = "<!-- readers: made by python -m tests.readers.table -->", "<!-- end of readers -->"
HEAD = """| format | read by | opens | up | size | colours | motion | |
| --- | --- | --- | --- | --- | --- | --- | --- |"""
EXACT = 1e-4
"""Less is not told apart from nothing."""


def measured() -> dict[str, Any]:
    """What was measured last."""
    return dict(json.loads((RESULTS / "readers.json").read_text(encoding="utf-8")))


def table(rows: list[dict[str, Any]]) -> str:
    """A line a row, a format's together."""
    formats = list(dict.fromkeys(row["format"] for row in rows))
    ordered = sorted(rows, key=lambda row: formats.index(row["format"]))
    return "\n".join([HEAD, *(f"| {' | '.join(_cells(row))} |" for row in ordered)])


def _cells(row: dict[str, Any]) -> list[str]:
    figures = row["figures"]
    reader = f"{row['reader']} {row['version']}{' (in CI)' if row['in_ci'] else ''}"
    return [
        row["format"], reader, "yes", _up(figures), _share(figures, "size"), _color(figures), _share(figures, "motion"),
        _rest(row),
    ]  # fmt: skip


def _up(figures: dict[str, float]) -> str:
    if "up_deg" not in figures:
        return ""
    if figures["up_deg"] > 90.0:
        return "**upside down**"
    return "yes, faces away" if figures["facing_deg"] > 90.0 else "yes"


def _share(figures: dict[str, float], key: str) -> str:
    if key not in figures:
        return ""
    return "exact" if figures[key] < EXACT else f"{100.0 * figures[key]:.2g} % off"


def _color(figures: dict[str, float]) -> str:
    if "colors" not in figures:
        return ""
    return "exact" if figures["colors"] < EXACT else f"{figures['colors']:.1g} off"


def _rest(row: dict[str, Any]) -> str:
    figures, told = row["figures"], [row["says"]] if row["says"] else []
    if "issues" in figures:
        told.append(f"{figures['issues']:.0f} errors and warnings")
    for key, name in (("opacities", "opacities"), ("shapes", "covariances"), ("harmonics", "harmonics")):
        if figures.get(key, 0.0) >= EXACT:
            value = f"{figures[key]:.1g}" if key == "opacities" else f"{100.0 * figures[key]:.2g} %"
            told.append(f"{name} {value} off")
    if "skinned" in figures:
        told.append(f"motion and covariances where one bone holds 99 %; {100.0 * figures['skinned']:.2g} % at joints")
    if "picture_db" in figures:
        told.append(f"picture {figures['picture_db']:.0f} dB")
    return "; ".join(told)


def page_with(text: str, content: str) -> str:
    """The page's ``text`` with ``content`` between its marks."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{content}\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Write the table into the page."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(page_with(text, table(measured()["rows"])), encoding="utf-8")


if __name__ == "__main__":
    main()
