"""Make the pictures of the README and of docs/skeleton.md: ``python docs/make_pictures.py [NAME...]``.

Each is what its recipe makes of shipped assets, filmed; ``bones`` and ``rigs`` are those with a skeleton. About four
minutes on two cores.
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
    "playbot": ("assets/splats/playbot.ply", ["--drop-floor", "--facing", "+z"], "a robot nods", ["--azimuth", "25"]),
    "spot": ("assets/photos/spot", [], "a jumping cow", ["--azimuth", "60"]),
    "bird": ("assets/splats/bird.ply", [], "a flying bird", ["--azimuth", "35", "--orbit", "360"]),
}
"""Name -> asset, options of reconstruct, sentence, options of render."""


RIGS = (
    *("rigged/Horse.glb", "rigged/Knight.glb", "rigged/Fox.glb"),
    *("splats/deer.ply", "splats/robot.ply", "rigged/Leela.glb"),
)
"""Assets whose rigs are shown, three a row."""

RIG_HEIGHT = 230


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


def bones(folder: Path) -> list[Image.Image]:
    """The frames of the recipe with a skeleton and physics, the camera going along."""
    run = str(folder / "bones")
    animus3d("reconstruct", "assets/splats/deer.ply", "--run", run)
    animus3d("rig", "--run", run)
    prompt = ["--prompt", "a walking deer"]
    animus3d("distill", "--motion", "skeleton", "--ground", "--travel", "auto", *prompt, "--run", run)
    animus3d("track", "--run", run)
    shot = ["--ground", "--follow", "--azimuth", "60", "--frames", str(FRAMES), "--size", str(SIDE)]
    animus3d("render", *shot, "--run", run, str(folder / "bones.png"))
    return [Image.open(folder / f"bones_{index:04d}.png").convert("RGB") for index in range(FRAMES)]


def rigs(folder: Path) -> Image.Image:
    """The previews of rigs, from in front and from the side."""
    cells = []
    for asset in RIGS:
        run = folder / f"rig {Path(asset).stem}"
        animus3d("reconstruct", f"assets/{asset}", "--run", str(run))
        animus3d("rig", "--run", str(run))
        preview = Image.open(run / "rig" / "preview.png").convert("RGB")
        side = preview.width // 3
        sides = [cut(preview.crop((side * k, 0, side * (k + 1), preview.height))) for k in (0, 1)]
        cell = Image.new("RGB", (sum(view.width for view in sides) + 40, RIG_HEIGHT + 24), "white")
        cell.paste(sides[0], (12, 12))
        cell.paste(sides[1], (sides[0].width + 28, 12))
        cells.append(cell)
    width = max(cell.width for cell in cells)
    whole = Image.new("RGB", (3 * width, 2 * (RIG_HEIGHT + 24)), "white")
    for number, cell in enumerate(cells):
        left = number % 3 * width + (width - cell.width) // 2
        whole.paste(cell, (left, number // 3 * (RIG_HEIGHT + 24)))
    return whole


def cut(picture: Image.Image) -> Image.Image:
    """What is not white, ``RIG_HEIGHT`` pixels high."""
    box = ImageChops.invert(picture).point(lambda v: 255 * (v > 14)).getbbox() or (0, 0, 1, 1)
    shown = picture.crop(box)
    return shown.resize((max(1, round(shown.width * RIG_HEIGHT / shown.height)), RIG_HEIGHT), Image.Resampling.LANCZOS)


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
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=MS, loop=0, quality=60, method=6)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1024:.0f} KiB", flush=True)


def main() -> None:
    """All pictures, or those named; the first one of the README when all are made."""
    names = sys.argv[1:] or [*RECIPES, "bones", "rigs"]
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            if name == "bones":
                save(name, bones(Path(folder)))
                continue
            if name == "rigs":
                rigs(Path(folder)).save(OUT / "rigs.webp", quality=72, method=6)
                continue
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
