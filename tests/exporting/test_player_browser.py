"""The player in headless Chromium: it draws what ``render`` draws, and does what keys, fingers and its address say."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stages.events import silent
from stages.export import ExportConfig
from stages.export import run as export
from stages.exporting import Recording
from stages.exporting.player import player_page
from stages.exporting.player.poster import first_camera
from stages.gaussians import Frames
from stages.raster.ground import Ground
from stages.run_dir import RunDir
from tests.e2e.command import animus3d
from tests.exporting.browser import BROWSER, address_of, chromium, until, watched
from tests.exporting.runs import moments, moving_run, small_splat

if BROWSER is None:
    pytest.skip("Chromium is not installed: nothing here can open a page", allow_module_level=True)
pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install -e '.[dev]'")

FRAMES, SIDE = 5, 240
SQUARE = {"viewport": {"width": SIDE, "height": SIDE}}
PHONE = {"viewport": {"width": 380, "height": 780}, "is_mobile": True, "has_touch": True}
DRAWN = "player.drawn >= 0 && !player.dirty"
ALL = f"{DRAWN} && player.frames.length === T"
BARE = """() => {
  document.body.style.background = "#fff";
  for (const one of document.querySelectorAll("header, #bar, #hint")) one.style.display = "none";
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


Opener = Callable[..., tuple[Any, list[str]]]


@pytest.fixture
def opened(browser: Any) -> Iterator[Opener]:
    """Opens pages, and closes them in the end: those that play take time from the others."""
    yield partial(watched, browser)
    for context in browser.contexts:
        context.close()


@pytest.fixture(scope="module")
def goat(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, Path]:
    """A run whose colours depend on the view, and its page."""
    folder = tmp_path_factory.mktemp("player")
    run = moving_run(folder / "run", small_splat(2, 150), prompt="a goat")
    export(run, ExportConfig(frames=FRAMES), silent, out=folder / "goat.html")
    return run, folder / "goat.html"


def picture(page: Any) -> torch.Tensor:
    """What is drawn, on white, without the controls, [H, W, 3]."""
    page.evaluate(BARE)
    return torch.from_numpy(np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")) / 255.0)


def psnr(first: torch.Tensor, second: torch.Tensor) -> float:
    """Of two pictures, dB."""
    return float(-10.0 * (first.double() - second.double()).square().mean().log10())


def state(page: Any) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(
        "() => ({ time: player.time, playing: player.playing, looping: player.looping, speed: SPEEDS[player.speed], "
        "count: $('count').textContent, help: $('help').open, ...player.camera })"
    )
    return found


@pytest.mark.parametrize(("azimuth", "elevation", "zoom"), [(35, 15, 1.0), (-80, 40, 1.0), (170, -20, 1.6)])
def test_pixels_are_those_of_render(
    opened: Opener, goat: tuple[RunDir, Path], tmp_path: Path, azimuth: float, elevation: float, zoom: float
) -> None:
    run, path = goat
    _, frames = moments(run, torch.linspace(0.0, 1.0, FRAMES))
    camera = first_camera(frames, SIDE, SIDE)
    target = 0.5 * (frames.means.amin(dim=(0, 1)) + frames.means.amax(dim=(0, 1)))
    radius = float((camera.position - target).norm()) / zoom
    keys = {"azimuth": azimuth, "elevation": elevation, "radius": radius, "fov": 35, "target": target.tolist()}
    way = tmp_path / "camera.json"
    way.write_text(json.dumps({"keyframes": [{"time": 0, **keys}, {"time": 1, **keys}]}))
    size = ["--frames", FRAMES, "--size", SIDE, "--background", "white"]
    animus3d("render", "--run", run.path, "--camera", way, *size, tmp_path / "shot.png")
    page, troubles = opened(address_of(path, azimuth=azimuth, elevation=elevation, zoom=zoom), **SQUARE)
    until(page, ALL)
    seen = []
    for frame in (0, 2, 4):
        page.evaluate(f"() => {{ location.hash = 'frame={frame}'; }}")
        until(page, f"{DRAWN} && player.drawn === {frame}")
        seen.append(picture(page))
        ours = torch.from_numpy(np.asarray(Image.open(tmp_path / f"shot_{frame:04d}.png").convert("RGB")) / 255.0)
        assert (ours < 0.9).any(dim=-1).float().mean() > 0.02  # there is something to see
        assert psnr(seen[-1], ours) > 40.0, frame  # 47 dB and more measured
        assert troubles == []
    assert psnr(seen[0], seen[1]) < 30.0 > psnr(seen[1], seen[2])  # frames differ, by more than pages do from pictures


def test_a_page_that_ignored_the_stretch_would_be_found_out(opened: Opener, goat: tuple[RunDir, Path]) -> None:
    _, path = goat
    page, _ = opened(address_of(path, frame=4), **SQUARE)
    until(page, f"{DRAWN} && player.drawn === 4")
    whole = picture(page)
    page.evaluate(
        "() => { player.frames[4].scales.set(player.frames[0].scales); player.drawn = 0; player.dirty = true; }"
    )
    until(page, "player.drawn === 4 && !player.dirty")
    assert psnr(picture(page), whole) < 40.0


@pytest.mark.parametrize("taken", ["Worker", "URL.createObjectURL"])
def test_without_a_worker_the_page_derives_by_itself(opened: Opener, goat: tuple[RunDir, Path], taken: str) -> None:
    _, path = goat
    page, troubles = opened(address_of(path, frame=3), **SQUARE)
    until(page, f"{ALL} && player.drawn === 3")
    before = f"{taken} = () => {{ throw new Error('none here'); }}"
    other, also = opened(address_of(path, frame=3), before, **SQUARE)
    until(other, f"{ALL} && player.drawn === 3")
    assert torch.equal(picture(page), picture(other)) and troubles == also == []


def test_without_webgl_there_is_the_first_picture_and_a_sentence(opened: Opener, goat: tuple[RunDir, Path]) -> None:
    _, path = goat
    before = "HTMLCanvasElement.prototype.getContext = () => null"
    page, troubles = opened(path.as_uri(), before, viewport={"width": 600, "height": 600})
    assert "no WebGL 2" in page.inner_text("#message")
    assert page.is_visible("#poster") and not page.is_visible("#bar")
    assert page.evaluate("() => $('poster').complete && $('poster').naturalWidth > 100")
    shown = picture(page)[60:500]
    assert (shown < 0.9).any(dim=-1).float().mean() > 0.02 and troubles == []


def test_the_poster_gives_way_without_a_jump(opened: Opener, goat: tuple[RunDir, Path]) -> None:
    _, path = goat
    page, _ = opened(address_of(path, frame=0), **SQUARE)
    until(page, ALL)
    drawn = picture(page)
    assert not page.is_visible("#poster")
    page.evaluate("() => document.body.classList.remove('drawn')")
    assert psnr(picture(page), drawn) > 28.0


def test_it_plays_loops_and_stops(opened: Opener, goat: tuple[RunDir, Path]) -> None:
    _, path = goat
    page, troubles = opened(path.as_uri(), **SQUARE)
    until(page, ALL)
    assert state(page)["playing"]
    first = state(page)["time"]
    until(page, f"player.time < {first} || player.time > {first} + 2")
    page.keyboard.press("l")
    until(page, "!player.playing")
    assert state(page)["time"] == FRAMES - 1 and not state(page)["looping"]
    again = page.evaluate(  # in one go: a slow machine would be past the end before it is asked
        """() => {
            document.body.dispatchEvent(new KeyboardEvent("keydown", {key: " ", bubbles: true}));
            return [player.playing, player.time];
        }"""
    )
    assert again == [True, 0]
    assert troubles == []


def test_keys(opened: Opener, goat: tuple[RunDir, Path]) -> None:
    _, path = goat
    page, troubles = opened(address_of(path, frame=1), viewport={"width": 900, "height": 600})
    until(page, ALL)
    assert (state(page)["time"], state(page)["playing"], state(page)["count"]) == (1, False, "1 / 4")
    for key, time in (
        ("ArrowRight", 2),
        ("ArrowRight", 3),
        ("ArrowLeft", 2),
        ("End", 4),
        ("ArrowRight", 4),
        ("Home", 0),
    ):
        page.keyboard.press(key)
        assert state(page)["time"] == time, key
    for key, name, value in (
        ("+", "zoom", 1.2), ("-", "zoom", 1.0), ("Shift+ArrowLeft", "azimuth", 25), ("ArrowUp", "elevation", 25),
        ("Shift+ArrowDown", "elevation", 15), ("l", "looping", False), ("L", "looping", True), ("?", "help", True),
        ("?", "help", False), ("?", "help", True), ("Escape", "help", False), (" ", "playing", True),
        (" ", "playing", False), ("Shift+ArrowRight", "azimuth", 35), ("0", "zoom", 1), ("s", "speed", 2),
    ):  # fmt: skip
        page.keyboard.press(key)
        assert state(page)[name] == pytest.approx(value), key
    page.focus("#loop")
    page.keyboard.press(" ")  # plays, and does not also press the button
    assert state(page)["playing"] and state(page)["looping"]
    page.keyboard.press(" ")
    page.keyboard.press("Enter")
    assert not state(page)["looping"]
    page.focus("#scrub")
    page.keyboard.press("End")
    until(page, f"player.drawn === {FRAMES} - 1 && !player.dirty")
    assert page.get_attribute("#scrub", "aria-valuetext") == "frame 4 of 0 to 4"
    assert troubles == []


def test_buttons_mouse_and_wheel(opened: Opener, goat: tuple[RunDir, Path]) -> None:
    _, path = goat
    page, troubles = opened(address_of(path, frame=0), viewport={"width": 900, "height": 600})
    until(page, ALL)
    page.click("#play")
    assert state(page)["playing"] and "Pause" in str(page.get_attribute("#play", "aria-label"))
    page.click("#play")
    page.click("#speed")
    assert page.inner_text("#speed") == "2x"
    page.fill("#scrub", "3")
    assert state(page)["time"] == 3
    page.click("#ask")
    page.click("#close")
    page.mouse.move(450, 250)
    page.mouse.down()
    page.mouse.move(550, 300, steps=4)
    page.mouse.up()
    assert state(page)["azimuth"] == pytest.approx(0.0) and state(page)["elevation"] == pytest.approx(32.5)
    page.mouse.wheel(0, -200)
    until(page, "player.camera.zoom > 1.2")
    page.dblclick("#view")
    assert state(page)["azimuth"] == 35 and state(page)["zoom"] == 1 and not state(page)["help"]
    assert troubles == []


def test_one_finger_turns_and_two_pinch(opened: Opener, goat: tuple[RunDir, Path]) -> None:
    _, path = goat
    page, troubles = opened(address_of(path, frame=2), **PHONE)
    until(page, ALL)
    assert page.evaluate("document.documentElement.scrollWidth") == 380
    fingers = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        listed = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": listed})

    touch("touchStart", (200, 300))
    for x in (220, 240, 260, 280, 300):
        touch("touchMove", (x, 300))
    touch("touchEnd")
    until(page, "player.camera.azimuth < 15")
    assert state(page)["zoom"] == 1.0
    azimuth = state(page)["azimuth"]
    touch("touchStart", (180, 300), (220, 300))
    for away in (30, 40, 50, 60):
        touch("touchMove", (200 - away, 300), (200 + away, 300))
    touch("touchEnd")
    until(page, "player.camera.zoom > 1.8")
    assert state(page)["azimuth"] == pytest.approx(
        azimuth, abs=8.0
    )  # at most what a finger does before the other is down
    assert page.evaluate("visualViewport.scale") == 1  # the page itself is not zoomed
    page.tap("#play")
    assert state(page)["playing"] and troubles == []


@pytest.mark.parametrize(("address", "time"), [("?frame=3", 3), ("#frame=2", 2), ("?frame=99", 4), ("?frame=-1", 0)])
def test_the_address_says_which_frame(opened: Opener, goat: tuple[RunDir, Path], address: str, time: int) -> None:
    _, path = goat
    page, troubles = opened(path.as_uri() + address, **SQUARE)
    until(page, f"{DRAWN} && player.drawn === {time}")
    assert not state(page)["playing"]
    page.evaluate("() => { location.hash = 'frame=1&zoom=2'; }")
    until(page, "player.drawn === 1 && player.camera.zoom === 2")
    assert troubles == []


@pytest.mark.parametrize(
    "address", ["?frame=", "?frame=x", "?frame=NaN&zoom=1e999&azimuth=", "#<script>alert(1)</script>"]
)
def test_an_address_that_says_nothing_plays(opened: Opener, goat: tuple[RunDir, Path], address: str) -> None:
    page, troubles = opened(goat[1].as_uri() + address, **SQUARE)
    until(page, ALL)
    assert state(page)["playing"] and state(page)["zoom"] == 1 and troubles == []


def test_who_wants_less_motion_is_asked_first(opened: Opener, goat: tuple[RunDir, Path]) -> None:
    page, _ = opened(goat[1].as_uri(), **SQUARE, reduced_motion="reduce")
    until(page, ALL)
    assert not state(page)["playing"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(opened: Opener, goat: tuple[RunDir, Path], scheme: str) -> None:
    """Contrast of the page's words to what is behind them, by WCAG 2: at least 4.5."""
    page, _ = opened(goat[1].as_uri(), color_scheme=scheme, viewport={"width": 900, "height": 600})
    until(page, DRAWN)

    def light(color: str) -> float:
        numbers = [float(part) / 255 for part in color[color.index("(") + 1 : -1].split(",")[:3]]
        linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in numbers]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for name in ("#title", "#credit", "#count", "#speed", "#play"):
        front, behind, bar = page.evaluate(
            f"() => [getComputedStyle(document.querySelector('{name}')).color, "
            f"getComputedStyle(document.querySelector('#play')).backgroundColor, "
            "getComputedStyle(document.documentElement).backgroundColor]"
        )
        first, second = sorted((light(front), light(behind if name == "#play" else bar)))
        assert (second + 0.05) / (first + 0.05) >= (3.0 if name == "#play" else 4.5), name


def test_the_same_ground(opened: Opener, tmp_path: Path) -> None:
    """Part of the body is below the plane. The page's shadow is coarser."""
    import dataclasses

    from stages.raster import choose, render
    from stages.raster.ground import above_ground, ground_layer

    _, frames = moments(moving_run(tmp_path / "run", small_splat(0)), torch.tensor([0.7, 0.7]))
    low, high = frames.means.amin(dim=(0, 1)), frames.means.amax(dim=(0, 1))
    ground = Ground(height=float(low[1] + 0.2 * (high - low)[1]), tile=0.2 * float((high - low).max()))
    path = tmp_path / "goat.html"
    path.write_text(player_page(Recording(frames=frames, fps=16, title="", ground=ground)), encoding="utf-8")
    page, troubles = opened(address_of(path, frame=0), **SQUARE)
    until(page, DRAWN)
    shot, cameras, now = picture(page), [first_camera(frames, SIDE, SIDE)], frames.select(slice(0, 1))
    layer = ground_layer(now, cameras, ground, torch.ones(3))
    unshaded = ground_layer(now, cameras, dataclasses.replace(ground, shadow=0.0), torch.ones(3))
    above = above_ground(now, ground.height)
    ours, bright, whole = (
        render(shown, cameras, choose("cpu"), background=behind).rgb[0].clamp(0.0, 1.0)
        for shown, behind in ((above, layer), (above, unshaded), (now, layer))
    )
    error = float((shot - ours).abs().mean())
    for wrong in (bright, whole):  # a page without the shadow, or with what is below, would be found out
        assert float((wrong - ours).abs().mean()) > 2.0 * error
    assert error < 0.003 and troubles == []


def test_what_is_shown_between_frames_is_between_them(opened: Opener, tmp_path: Path) -> None:
    """The page mixes quaternions number by number: neighbours must not differ in sign; and a body that goes more than
    half around must not jump where its quaternion's sign would wrap."""
    asset = small_splat(1)
    angles = torch.linspace(0.0, 6.0, 13)
    c, s, zero, one = angles.cos(), angles.sin(), torch.zeros(13), torch.ones(13)
    R = torch.stack([torch.stack(row, -1) for row in ((c, zero, s), (zero, one, zero), (-s, zero, c))], dim=-2)
    frames = Frames(asset, torch.einsum("tij,nj->tni", R, asset.means))
    path = tmp_path / "turning.html"
    path.write_text(player_page(Recording(frames=frames, fps=16, title="")), encoding="utf-8")
    page, _ = opened(address_of(path, frame=0), **SQUARE)
    until(page, ALL)
    for name in ("quats", "turns"):
        quats = np.array(page.evaluate(f"() => player.frames.map((frame) => Array.from(frame.{name}))"))
        quats = quats.reshape(13, -1, 4)
        assert (quats[1:] * quats[:-1]).sum(axis=-1).min() > math.cos(0.5 * 0.5) - 0.02, name
