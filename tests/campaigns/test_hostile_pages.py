"""A few tries of the campaign of hostile pages, and that it sees what it looks for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.campaigns.hostile_pages import PLACES, Shown, Workshop, one, troubles_of, workshop
from tests.campaigns.hostile_texts import FLAG, PIECES, as_name, visible
from tests.exporting.browser import BROWSER

if BROWSER is None:
    pytest.skip("Chromium is not installed: nothing here can open a page", allow_module_level=True)
pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install -e '.[dev]'")

WORST = f"</script><script>window.{FLAG}=1</script> <!--<script> {{{{TITLE}}}} \udcff a\0b \u202eabc \"'>"


@pytest.fixture(scope="module")
def at_work() -> Iterator[tuple[Any, Workshop]]:
    with workshop() as both:
        yield both


@pytest.mark.parametrize("place", PLACES)
def test_the_worst_of_all(at_work: tuple[Any, Workshop], place: str) -> None:
    answer = one(*at_work, place, WORST)
    assert answer == {"well": True}


@pytest.mark.parametrize("text", ["x" * 10_000, "\u0301" * 10_000, f"<img src=x onerror='window.{FLAG}=1'>"])
def test_titles_of_the_player(at_work: tuple[Any, Workshop], text: str) -> None:
    assert one(*at_work, "credit of a page", text) == {"well": True}


def test_a_long_name_of_a_number_does_not_widen_a_report(at_work: tuple[Any, Workshop]) -> None:
    assert one(*at_work, "metrics in a report", "x" * 10_000) == {"well": True}


def test_what_runs_is_seen(at_work: tuple[Any, Workshop], tmp_path: Path) -> None:
    """A page that does not escape is found out, by each of its faults."""
    page = tmp_path / "page.html"
    page.write_text(f"<h1>{PIECES[1]}</h1><img src='http://127.0.0.1:9/x.png'><p style='width:2000px'>wide</p>")
    troubles = " ".join(troubles_of(at_work[0], Shown(page, "h1", "what was meant")))
    for fault in ("has run", "is not shown", "wider", "127.0.0.1"):
        assert fault in troubles


def test_names_of_texts_are_names(tmp_path: Path) -> None:
    for text in PIECES:
        (tmp_path / as_name(text)).mkdir(exist_ok=True)
    assert visible("a\0 b\udcff\n") == "ab"
