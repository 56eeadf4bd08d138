"""Make the moving pictures of the README from shipped assets: ``python docs/make_pictures.py [NAME...]``.

Each is what its recipe in the README makes, filmed. About two minutes on two cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageChops

ROOT = Path(__file__).parent.parent
OUT = ROOT / "docs" / "pictures"
FRAMES, SIDE, MS = 24, 240, 70

RECIPES = {
    "deer": ("assets/splats/deer.ply", [], "a jumping deer", ["--azimuth", "70"]),
    "fox": ("assets/rigged/Fox.glb", ["--pose", "Survey@0"], "a running fox", ["--azimuth", "60"]),
    "playbot": ("assets/splats/playbot.ply", [], "a robot nods", ["--azimuth", "25"]),
    "spot": ("assets/photos/spot", [], "a jumping cow", ["--azimuth", "60"]),
    "bird": ("assets/splats/bird.ply", [], "a flying bird", ["--azimuth", "35", "--orbit", "360"]),
}
"""Name -> asset, options of reconstruct, sentence, options of render."""


def animus3d(*words: str) -> None:
    """One command, in the checkout."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "animus3d_cli", *words]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)


def frames_of(name: str, folder: Path) -> list[Image.Image]:
    """The frames of one recipe, and how long it took."""
    asset, options, prompt, shot = RECIPES[name]
    run, began = str(folder / name), time.time()
    animus3d("reconstruct", asset, *options, "--run", run)
    animus3d("distill", "--set", "preview_every=0", "--prompt", prompt, "--run", run)
    animus3d(
        "render",
        "--run",
        run,
        "--frames",
        str(FRAMES),
        "--size",
        str(SIDE),
        "--loop",
        *shot,
        str(folder / f"{name}.png"),
    )
    print(f"{name}: {time.time() - began:.0f} s", flush=True)
    return framed([Image.open(folder / f"{name}_{index:04d}.png").convert("RGB") for index in range(FRAMES)])


def framed(frames: list[Image.Image]) -> list[Image.Image]:
    """``frames``, all cut to the square in which anything is ever seen, ``SIDE`` pixels wide."""
    boxes = [ImageChops.invert(frame).point(lambda v: 255 * (v > 12)).getbbox() or (0, 0, 1, 1) for frame in frames]
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[2] for box in boxes), max(box[3] for box in boxes)
    half = 0.53 * max(right - left, bottom - top)
    x, y = 0.5 * (left + right), 0.5 * (top + bottom)
    square = (round(x - half), round(y - half), round(x + half), round(y + half))
    white = [Image.new("RGB", (square[2] - square[0], square[3] - square[1]), "white") for _ in frames]
    for whole, frame in zip(white, frames, strict=True):
        whole.paste(frame, (-square[0], -square[1]))
    return [whole.resize((SIDE, SIDE), Image.Resampling.LANCZOS) for whole in white]


def save(name: str, frames: list[Image.Image]) -> None:
    """An animated picture that goes round."""
    path = OUT / f"{name}.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=MS, loop=0, quality=70, method=4)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1024:.0f} KiB", flush=True)


def main() -> None:
    """All pictures, or those named; the first one of the README when all are made."""
    names = sys.argv[1:] or list(RECIPES)
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            made[name] = frames_of(name, Path(folder))
            save(name, made[name])
    if {"deer", "fox", "bird"} <= made.keys():
        wide = [Image.new("RGB", (3 * SIDE, SIDE)) for _ in range(FRAMES)]
        for column, name in enumerate(("deer", "fox", "bird")):
            for whole, frame in zip(wide, made[name], strict=True):
                whole.paste(frame, (column * SIDE, 0))
        save("hero", wide)


if __name__ == "__main__":
    main()
