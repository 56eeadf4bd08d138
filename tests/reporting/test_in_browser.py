"""Both pages in headless Chromium: they play, stop and are scrubbed together, and answers come out as CSV."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.events import silent
from stages.prefer import PreferConfig
from stages.prefer import run as prefer
from stages.report import run as report
from stages.reporting.study import QUESTIONS, read_answers, read_key, shares
from tests.reporting.runs import filmed, measured, run_with

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if BROWSER is None:
    pytest.skip("no Chromium here", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api")

PHONE = {"viewport": {"width": 380, "height": 780}, "is_mobile": True, "has_touch": True}
DESK = {"viewport": {"width": 1280, "height": 900}}
TIMES = "[...document.querySelectorAll('video')].map((video) => video.currentTime / video.duration)"
PLAYS = "[...document.querySelectorAll('video')].map((video) => !video.paused)"
READY = "[...document.querySelectorAll('video')].every((video) => video.readyState >= 2)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


def open_page(browser: Any, path: Path, **context: Any) -> tuple[Any, list[str]]:
    """The page, and what it complains about or asks the network for."""
    page, troubles = browser.new_context(**context).new_page(), []
    page.set_default_timeout(20_000)
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda asked: troubles.append(asked.url) if asked.url.startswith(("http", "ws")) else None)
    page.goto(path.as_uri())
    return page, troubles


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page about three runs, one of them with half as many frames, one without a video."""
    folder = tmp_path_factory.mktemp("report")
    runs = [measured(run_with(folder / name, seed=index), jerk=1.0 + index) for index, name in enumerate("abc")]
    filmed(runs[0], frames=24)
    filmed(runs[1], frames=12)
    return report([run.path for run in runs], silent, out=folder / "page.html", tables=[])


@pytest.mark.parametrize("context", [DESK, PHONE, {**DESK, "color_scheme": "dark"}])
def test_the_report_fits_and_is_quiet(browser: Any, comparison: Path, context: dict[str, Any]) -> None:
    page, troubles = open_page(browser, comparison, **context)
    page.wait_for_function(READY)
    assert page.evaluate("document.documentElement.scrollWidth") == context["viewport"]["width"]
    colors = page.evaluate("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]")
    light, dark = "rgb(255, 255, 255)", "rgb(22, 26, 33)"
    assert colors[1] == (dark if context.get("color_scheme") else light) and colors[0] != colors[1]
    assert troubles == []


def test_videos_of_other_lengths_play_stop_and_are_scrubbed_together(browser: Any, comparison: Path) -> None:
    page, troubles = open_page(browser, comparison, **DESK)
    page.wait_for_function(f"{READY} && {PLAYS}.every(Boolean) && Math.min(...{TIMES}) > 0.2")
    first, second = page.evaluate(TIMES)
    assert abs(first - second) < 0.15  # 24 frames in the time of 12: each is as far in its own length
    page.click(".play")
    assert page.evaluate(PLAYS) == [False, False]
    page.fill(".scrub", "0.75")
    page.wait_for_function(f"{TIMES}.every((time) => Math.abs(time - 0.75) < 0.03)")
    assert page.inner_text(".count") == "75 %"
    page.focus(".scrub")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(f"{TIMES}.every((time) => time < 0.75)")
    page.click(".speed")
    page.click(".play")
    page.wait_for_function(f"{PLAYS}.every(Boolean)")
    rates = page.evaluate("[...document.querySelectorAll('video')].map((video) => video.playbackRate)")
    assert rates == pytest.approx([2.0, 1.0], rel=0.05)
    assert troubles == []


def test_paper_has_sheets_in_place_of_videos(browser: Any, comparison: Path) -> None:
    page, _ = open_page(browser, comparison, **DESK)
    page.emulate_media(media="print")
    shown = "(name) => [...document.querySelectorAll(name)].map((one) => one.checkVisibility())"
    assert page.evaluate(shown, "video, .bar") == [False] * 3
    sheets = page.evaluate(shown, ".sheet img")
    assert len(sheets) == 16 and all(sheets)
    assert page.pdf(format="A4").startswith(b"%PDF")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two sets of two."""
    folder = tmp_path_factory.mktemp("prefer")
    paths = [
        run_with(folder / method / verb, prompt=f'a "{verb}", goat').path for verb in "wj" for method in ("x1", "x2")
    ]
    prefer(paths, PreferConfig(frames=4, size=48), silent, out=folder / "page.html")
    return folder / "page.html"


def choose(page: Any, name: str, clips: dict[str, str], touch: bool) -> None:
    """Choose the clip that the key calls ``name``, and wait for the next question."""
    order = page.evaluate("[...document.querySelectorAll('video')].map((video) => video.dataset.clip)")
    place, before = [clips[clip] for clip in order].index(name), page.inner_text("#place")
    if touch:
        page.tap(f"#clips figure:nth-child({place + 1}) .choose")
    else:
        page.keyboard.press(str(place + 1))
    page.wait_for_function("(b) => document.getElementById('place').textContent !== b || !$('end').hidden", arg=before)


def test_answers_by_touch_and_keys_are_saved_and_counted(browser: Any, study: Path, tmp_path: Path) -> None:
    key = read_key(study.with_suffix(".key.json"))
    clips = {name: clip.name for one in key.sets for name, clip in one.clips.items()}
    page, troubles = open_page(browser, study, **PHONE)
    page.tap("#start")
    for number in range(10):
        if number == 3:  # think again, and lose the page on the way
            page.click("#back")
            page.reload()
            assert page.inner_text("#place") == "3 of 10"
            choose(page, "x1", clips, touch=True)
        assert page.evaluate("document.documentElement.scrollWidth") == 380
        overall = page.inner_text("#question") == QUESTIONS["overall"]
        assert overall == (number in (4, 9))
        choose(page, "x2" if overall else "x1", clips, touch=number % 2 == 0)
    with page.expect_download() as download:
        page.click("#save")
    saved = tmp_path / download.value.suggested_filename
    download.value.save_as(saved)
    assert saved.name.startswith(f"preference-{key.page}-")
    found = {(one.question, one.name): (one.won, one.shown) for one in shares(read_answers([saved], key))}
    assert found == {
        (question, name): (2 if (name == "x2") == (question == "overall") else 0, 2)
        for question in QUESTIONS for name in ("x1", "x2")
    }  # fmt: skip
    assert troubles == []


def test_every_participant_gets_another_order(browser: Any, study: Path) -> None:
    """Of 12 participants: 2 orders of sets, 4 of clips, 24 of questions."""
    page, _ = open_page(browser, study, **DESK)
    people = page.evaluate(
        "Array.from({ length: 12 }, () => { const { id, ...rest } = newPerson(); return [id, JSON.stringify(rest)]; })"
    )
    assert len({name for name, _ in people}) == 12
    assert len({order for _, order in people}) > 6  # 192 orders: 12 draws give fewer about once in 10 to the 9
