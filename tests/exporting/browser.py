"""Pages in headless Chromium, drawn by software: opened, watched for complaints, looked at."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = (
    "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--hide-scrollbars",
    "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--force-color-profile=srgb",
)  # fmt: skip


@contextmanager
def chromium(*arguments: str) -> Iterator[Any]:
    """A browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=BROWSER, args=[*ARGUMENTS, *arguments])
        yield opened
        opened.close()


def watched(browser: Any, address: str, before: str = "", **context: Any) -> tuple[Any, list[str]]:
    """The page at ``address``, and what it complains about or asks the network for; ``before`` runs ahead of it."""
    page, troubles = browser.new_context(**context).new_page(), []
    page.set_default_timeout(30_000)
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: (troubles.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda asked: troubles.append(asked.url) if asked.url.startswith(("http", "ws")) else None)
    if before:
        page.add_init_script(before)
    page.goto(address)
    return page, troubles


def until(page: Any, condition: str, seconds: float = 60.0) -> None:
    """Wait for an expression to be true. (A page's policy may forbid what Playwright's own waiting does.)"""
    ends = time.monotonic() + seconds
    while not page.evaluate(f"() => Boolean({condition})"):
        assert time.monotonic() < ends, f"not within {seconds} s: {condition}"
        time.sleep(0.03)


def address_of(path: Path, **numbers: object) -> str:
    """Of a page, with ``?frame=`` and such."""
    query = "&".join(f"{name}={value}" for name, value in numbers.items())
    return path.as_uri() + (f"?{query}" if query else "")
