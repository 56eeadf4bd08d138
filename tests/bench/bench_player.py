"""The HTML player's page: ``make bench-player``.

Two shipped bodies that move by their own clips, 10,000 Gaussians in 31 frames: how large the page is; how far pictures
of what it stores are from pictures of the clip itself (the worst of ``FRAMES`` x ``AZIMUTHS``, 512 pixels, white), and
how far what headless Chromium draws of it is from that; how long Chromium takes, all on the CPU, until there is a
picture, until every frame is derived, and for a picture while it plays. Harmonics of degree 2 are made up, with noise.
"""

from __future__ import annotations

import io
import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stages.cameras import Camera, orbit_camera
from stages.exporting import Recording
from stages.exporting.player import decode, encode, player_page
from stages.exporting.player.encode import cylinder
from stages.exporting.player.poster import ELEVATION_DEG, FOV_DEG, first_camera, poster
from stages.gaussians import Frames
from stages.raster import choose, render
from stages.zoo.clips import rigged_clip
from stages.zoo.rigs import rigs
from tests.bench.record import finish
from tests.exporting.browser import address_of, chromium, until, watched

CLIPS = {
    "fox runs": ("Fox.glb", "run", 0),
    "deer jumps": ("Deer.glb", "jump", 0),
    "fox, degree 2": ("Fox.glb", "run", 2),
}
NUM_GAUSSIANS, NUM_FRAMES, SIDE_PX = 10_000, 31, 512
FRAMES, AZIMUTHS = (0, 10, 20, 30), (35, 215)
BARS = {"megabytes": 2.0, "stored_db": 35.0}
PLAYS_S = 6.0


def clip(file: str, verb: str, degree: int) -> Frames:
    """The body of ``file`` making ``verb``."""
    [rig] = [rig for rig in rigs() if rig.file == file]
    frames = rigged_clip(rig, verb, NUM_FRAMES, NUM_GAUSSIANS, torch.Generator().manual_seed(0))
    if not degree:
        return frames
    noise = torch.randn(NUM_GAUSSIANS, (degree + 1) ** 2 - 1, 3, generator=torch.Generator().manual_seed(1))
    return Frames(replace(frames.asset, sh=torch.cat([frames.asset.sh, 0.1 * noise], dim=1)), frames.means)


def camera(frames: Frames, azimuth: float) -> Camera:
    """The page's, from another side."""
    centre = torch.tensor(cylinder(frames)["centre"])
    radius = float((first_camera(frames, SIDE_PX, SIDE_PX).position - centre).norm())
    return orbit_camera(
        azimuth_deg=azimuth,
        elevation_deg=ELEVATION_DEG,
        radius=radius,
        fov_deg=FOV_DEG,
        width=SIDE_PX,
        height=SIDE_PX,
        target=centre,
    )


def pictures(shown: Frames, like: Frames) -> Tensor:
    """[A, F, H, W, 3]: every azimuth and frame; cameras as for ``like``."""
    some = shown.select(torch.tensor(FRAMES))
    made = [
        render(some, [camera(like, azimuth)] * len(FRAMES), choose("cpu"), background=torch.ones(3)).rgb.clamp(0.0, 1.0)
        for azimuth in AZIMUTHS
    ]
    return torch.stack(made)


def worst_db(first: Tensor, second: Tensor) -> float:
    """Over the pictures of ``pictures``."""
    errors = (first.double() - second.double()).square().flatten(2).mean(dim=-1)
    return round(-10.0 * math.log10(float(errors.max())), 1)


def in_browser(browser: Any, page_file: Path) -> tuple[Tensor, dict[str, float]]:
    """Pictures as Chromium draws them, and seconds."""
    begun = time.monotonic()
    page, troubles = watched(browser, page_file.as_uri(), viewport={"width": SIDE_PX, "height": SIDE_PX})
    until(page, "player.drawn >= 0")
    first = time.monotonic() - begun
    until(page, "player.frames.length === T", 300.0)
    derived = time.monotonic() - begun
    count = page.evaluate(
        """(seconds) => new Promise((done) => {
          setPlaying(true);
          const ends = performance.now() + 1000 * seconds, times = new Set();
          let pictures = 0, last = -1;
          const look = () => {
            if (player.drawn !== last) pictures++;
            last = player.drawn;
            if (performance.now() < ends) requestAnimationFrame(look); else done(pictures);
          };
          look();
        })""",
        PLAYS_S,
    )
    page.context.close()
    seen = []
    for azimuth in AZIMUTHS:
        page, more = watched(
            browser, address_of(page_file, frame=0, azimuth=azimuth), viewport={"width": SIDE_PX, "height": SIDE_PX}
        )
        troubles += more
        page.evaluate("() => { document.body.style.background = '#fff'; }")
        page.evaluate(
            "() => { for (const one of document.querySelectorAll('header, #bar, #hint')) one.hidden = true; }"
        )
        for frame in FRAMES:
            page.evaluate(f"() => {{ location.hash = 'frame={frame}'; }}")
            until(page, f"player.drawn === {frame} && !player.dirty", 300.0)
            page.evaluate("() => { $('bar').hidden = $('message').hidden = true; }")
            shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            seen.append(torch.from_numpy(np.asarray(shot) / 255.0))
        page.context.close()
    assert not troubles, troubles
    shape = (len(AZIMUTHS), len(FRAMES), SIDE_PX, SIDE_PX, 3)
    seconds = {"s_until_a_picture": first, "s_until_all_is_derived": derived, "ms_a_picture": 1000 * PLAYS_S / count}
    return torch.stack(seen).reshape(shape), {name: round(value, 2) for name, value in seconds.items()}


def main() -> None:
    """Every clip; ``missed`` names those that miss a bar."""
    torch.set_num_threads(1)
    result: dict[str, Any] = {"gaussians": NUM_GAUSSIANS, "frames": NUM_FRAMES, "clips": {}, "bars": BARS}
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        for name, (file, verb, degree) in CLIPS.items():
            frames = clip(file, verb, degree)
            recording = Recording(frames=frames, fps=16, title=name)
            begun = time.monotonic()
            page = player_page(recording)
            exported = time.monotonic() - begun
            header, payload = encode(recording)
            path = Path(folder) / "page.html"
            path.write_text(page, encoding="utf-8")
            true, stored = pictures(frames, frames), pictures(decode(header, payload).frames, frames)
            drawn, seconds = in_browser(browser, path)
            result["clips"][name] = {
                "megabytes": round(len(page.encode()) / 1e6, 3),
                "payload_bytes": len(payload),
                "poster_bytes": len(poster(recording)),
                "stored_db": worst_db(stored, true),
                "drawn_db": worst_db(drawn, true),
                "s_export": round(exported, 2),
                **seconds,
            }
            print(name, result["clips"][name], flush=True)
    found = result["clips"].items()
    missed = [
        name for name, one in found if one["megabytes"] > BARS["megabytes"] or one["stored_db"] < BARS["stored_db"]
    ]
    finish("player", {**result, "missed": missed})


if __name__ == "__main__":
    main()
