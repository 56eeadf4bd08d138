"""Hostile names, prompts, credits and settings in every page that is written: shown as text, and nothing of it runs.

Each try puts one text into one place, makes the page by the command that makes it, and opens it in headless Chromium:
no script of the text has run, nothing was asked of the network, the console is silent, and the text is there to be
read. A command may also refuse the text in a line with one of its exit codes.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stages.files import write_json
from stages.gaussians.formats.ply import write_ply
from stages.run_dir import RunDir
from stages.run_dir.layout import MOTION
from tests.campaigns.hostile_texts import FLAG, Said, as_name, command, texts, visible
from tests.campaigns.journal import Answer, Journal, summary
from tests.exporting.browser import chromium, watched
from tests.exporting.runs import small_splat
from tests.priors.points.tiny import save_tiny

COUNT = 300
"""Tries, over all places."""

WAIT_MS = 150
"""After a page has loaded: what a text starts has started by then."""


class Refused(Exception):
    """A command said no in the way that it should."""


@dataclass(frozen=True)
class Shown:
    """A page, and where the text stands in it."""

    page: Path
    selector: str
    text: str


class Workshop:
    """Runs to put texts into: made once, then copied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = folder / "try"
        asset = small_splat(0, 30)
        write_ply(folder / "goat.ply", replace(asset, log_scales=asset.log_scales))
        save_tiny(folder / "points")
        self._must("reconstruct", folder / "goat.ply", "--run", folder / "asset")
        shutil.copytree(folder / "asset", folder / "moving")
        self._must("distill", *self._prior, "--prompt", "walk", "--steps", 2, "--run", folder / "moving")

    @property
    def _prior(self) -> tuple[object, ...]:
        return ("--prior", self.folder / "points", "--set", "preview_every=0", "--seconds", 0.3)

    def _must(self, *words: object) -> None:
        said = command(*words)
        assert said.code == 0, said

    def fresh(self, name: str, kind: str) -> Path:
        """A copy of the run ``kind`` called ``name``."""
        shutil.copytree(self.folder / kind, self.place / name)
        return self.place / name

    def say(self, *words: object) -> Said:
        """Run a command that has to work or to refuse."""
        said = command(*words)
        if said.code and said.refused:
            raise Refused(said.err.strip())
        assert said.code == 0, f"exit code {said.code}: {said.err[-600:]}"
        return said

    def distilled(self, text: str) -> Path:
        """A run that ``distill`` has made move as ``text`` says."""
        run = self.fresh("run", "asset")
        self.say("distill", *self._prior, "--prompt", text, "--steps", 2, "--run", run)
        return run

    def prompted(self, text: str, name: str = "run") -> Path:
        """The same much faster: a run whose files say that ``text`` was the prompt."""
        stage = RunDir(self.fresh(name, "moving")).stage("motion")
        tensors, metadata = stage.read_result(MOTION.result)
        stage.write_result(MOTION.result, tensors, metadata | {"prompt": text})
        stage.finish(1)
        set_settings(stage.path, {"prompt": text})
        return RunDir(self.place / name).path

    def exported(self, run: Path, *words: object, out: str = "page.html") -> Path:
        """The player's page of ``run``."""
        page = self.place / out
        self.say("export", "--format", "html", "--frames", 2, "--run", run, "--out", page, *words)
        return page

    def reported(self, *runs: Path, out: str = "page.html") -> Path:
        """A report on ``runs``."""
        page = self.place / out
        self.say("report", *runs, "--out", page)
        return page


def _title(shop: Workshop, text: str) -> Shown:
    return Shown(shop.exported(shop.distilled(text)), "#title", text)


def _credit(shop: Workshop, text: str) -> Shown:
    return Shown(shop.exported(shop.fresh("run", "moving"), "--credit", text), "#credit", text)


def _page_name(shop: Workshop, text: str) -> Shown:
    page = shop.exported(shop.fresh("run", "moving"), out=f"{as_name(text)}.html")
    return Shown(page, "#title", "walk")


def _samples(shop: Workshop, text: str) -> Shown:
    run = shop.fresh("run", "asset")
    shop.say("sample", *shop._prior[:2], "--prompt", text, "--count", 1, "--set", "denoise_steps=2", "--run", run)
    return Shown(run / "samples" / "samples.html", "h1", text)


def _report_prompt(shop: Workshop, text: str) -> Shown:
    return Shown(shop.reported(shop.prompted(text)), "figcaption", text)


def _report_name(shop: Workshop, text: str) -> Shown:
    name = as_name(text)
    return Shown(shop.reported(shop.fresh("other", "moving"), shop.fresh(name, "moving")), ".clips", name)


def set_settings(stage: Path, settings: dict[str, Any]) -> None:
    """Settings in a stage's ``config.json``, as if they had been written by the stage."""
    path = stage / "config.json"
    config = json.loads(path.read_text())
    config["settings"] |= settings
    write_json(path, config, seal=True)


def _report_asset(shop: Workshop, text: str) -> Shown:
    name = f"{as_name(text)}.ply"
    shutil.copy(shop.folder / "goat.ply", shop.place / name)
    shop.say("reconstruct", shop.place / name, "--run", shop.place / "run")
    return Shown(shop.reported(shop.place / "run"), "body", name)


def _report_setting(shop: Workshop, text: str) -> Shown:
    run = shop.fresh("run", "moving")
    set_settings(run / "motion", {f"name {text}": 1, "value": text, "list": [text]})
    return Shown(shop.reported(run), "body", text)


def _report_metric(shop: Workshop, text: str) -> Shown:
    run = shop.fresh("run", "moving")
    one = {"value": 1.5, "unit": text, "definition": text, "better": text, "note": text}
    (run / "eval").mkdir()
    found = {"run": text, "source": "motion", "prompt": text, "frames": 2, "views": 1, "metrics": {f"m {text}": one}}
    (run / "eval" / "metrics.json").write_text(json.dumps(found))
    with (run / "motion" / "metrics.jsonl").open("w") as log:
        for step in (1, 2, 3):
            log.write(json.dumps({"step": step, f"log {text}": step}) + "\n")
    return Shown(shop.reported(run), "body", text)


def _prefer(shop: Workshop, text: str) -> Shown:
    runs = [shop.prompted(text, f"{number} {as_name(text, 60)}") for number in (0, 1)]
    page = shop.place / "page.html"
    shop.say("prefer", *runs, "--out", page)
    return Shown(page, "#prompt", text)


PLACES: dict[str, Callable[[Workshop, str], Shown]] = {
    "title of a page": _title,
    "credit of a page": _credit,
    "name of a page": _page_name,
    "prompt of samples": _samples,
    "prompt in a report": _report_prompt,
    "name of a run in a report": _report_name,
    "name of an asset in a report": _report_asset,
    "settings in a report": _report_setting,
    "metrics in a report": _report_metric,
    "prompt of a preference page": _prefer,
}


def troubles_of(browser: Any, shown: Shown) -> list[str]:
    """What is wrong with a page; nothing where all is well."""
    page, troubles = watched(browser, _address(shown.page), viewport={"width": 700, "height": 600})
    try:
        if page.query_selector("#start"):  # of a preference page
            page.click("#start")
        page.mouse.move(200, 60)
        page.wait_for_timeout(WAIT_MS)
        ran = page.evaluate(f"() => [window.{FLAG}, Object.prototype.{FLAG}].some((one) => one !== undefined)")
        read = page.evaluate("(selector) => document.querySelector(selector)?.textContent ?? null", shown.selector)
        wide = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    finally:
        page.context.close()
    if ran:
        troubles.append("a script of the text has run")
    if read is None or visible(shown.text) not in visible(read):
        troubles.append(f"the text is not shown: {str(read)[:200]!r}")
    if wide > 0:
        troubles.append(f"the page is {wide} pixels wider than the window")
    return troubles


def _address(path: Path) -> str:
    """``Path.as_uri`` of any name, also one that is no UTF-8."""
    from urllib.parse import quote_from_bytes

    return "file://" + quote_from_bytes(os.fsencode(path))


def one(browser: Any, shop: Workshop, place: str, text: str) -> Answer:
    """One try."""
    shutil.rmtree(os.fsencode(shop.place), ignore_errors=True)
    shop.place.mkdir()
    try:
        shown = PLACES[place](shop, text)
    except Refused as refusal:
        return {"well": True, "refused": str(refusal)[:300].encode("utf-8", "backslashreplace").decode()}
    except AssertionError as error:
        return {"well": False, "text": ascii(text[:80]), "why": [ascii(str(error)[:900])]}
    except Exception as error:
        return {"well": False, "text": ascii(text[:80]), "why": [ascii(f"{type(error).__name__}: {error}"[:900])]}
    why = troubles_of(browser, shown)
    return (
        {"well": True}
        if not why
        else {"well": False, "text": ascii(text[:80]), "why": [ascii(line[:300]) for line in why]}
    )


@contextmanager
def workshop() -> Iterator[tuple[Any, Workshop]]:
    """A browser and a place to work in."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, chromium() as browser:
        yield browser, Workshop(Path(folder))


def run(journal: Journal, count: int | None, seed: int) -> dict[str, Any]:
    """``count`` tries, shared out to the places."""
    each = -(-(count or COUNT) // len(PLACES))
    answers = {}
    with workshop() as (browser, shop):
        for number, text in enumerate(texts(each, seed)):
            for place in PLACES:
                key = f"{place}, {number}"
                answers[key] = journal.answer(key, lambda place=place, text=text: one(browser, shop, place, text))  # type: ignore[misc]
    refused = Counter(answer["refused"][:80] for answer in answers.values() if "refused" in answer)
    return {**summary(answers), "places": list(PLACES), "texts": each, "refused": dict(refused.most_common())}
