"""Videos in a shape that a service made, with bars, whose camera is looked for: from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from stages.assets import asset_path
from stages.media.contact_sheet import write_png
from stages.media.rgba import read_rgba
from stages.media.video import WRITERS
from tests.e2e.command import animus3d

FOX = asset_path("rigged", "Fox.glb")
SMALL = ("--steps", 2, "--set", "given.frames=3", "--set", "given.size_px=96", "--set", "render_px=32",
         "--set", "preview_every=0")  # fmt: skip
GREEN = torch.tensor([0.0, 0.784, 0.314])


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tensor, Tensor]:
    """A folder with the run of a fox, its film as it looks around on green [T, H, W, 3], and masks [T, H, W, 1]."""
    folder = tmp_path_factory.mktemp("bars")
    run = folder / "fox"
    animus3d("reconstruct", FOX, "--num-gaussians", 1500, "--run", run)
    animus3d("still", "--azimuth", 45, "--size", "160x128", "--out", folder / "fox.png", "--run", run)
    film = ("render", "--source", f"{FOX}#Survey", "--camera", folder / "fox.json", "--frames", 3)
    animus3d(*film, "--background", "transparent", folder / "survey.webm", "--run", run)
    rgba = read_rgba(folder / "survey.webm")[0].rgba.float() / 255.0
    return folder, rgba[..., :3] * rgba[..., 3:] + GREEN * (1.0 - rgba[..., 3:]), rgba[..., 3:]


def follow(folder: Path, run: Path, video: Path, *options: object, code: int = 0) -> str:
    given = ("distill", "--objective", "match", "--video", video, "--camera", "auto", *options)
    printed = animus3d(*given, "--run", run, "--from", folder / "fox", *SMALL, code=code)
    return printed.stdout + printed.stderr


def barred(frames: Tensor, sides: int, above: int) -> Tensor:
    return pad(frames.movedim(-1, 1), (sides, sides, above, above)).movedim(1, -1)


def azimuth(said: str) -> float:
    return float(said.split("Camera: azimuth ")[1].split(",")[0])


def test_the_camera_is_found_between_black_bars(filmed: tuple[Path, Tensor, Tensor], tmp_path: Path) -> None:
    folder, film, _ = filmed
    WRITERS[".mp4"](tmp_path / "wide.mp4", barred(film, 50, 0), 8)
    said = follow(folder, tmp_path / "run", tmp_path / "wide.mp4")
    assert "bars" in said and abs(azimuth(said) - 45.0) <= 5.0


def test_masks_and_bars_together(filmed: tuple[Path, Tensor, Tensor], tmp_path: Path) -> None:
    folder, film, alpha = filmed
    busy = torch.rand(film.shape[1:], generator=torch.Generator().manual_seed(0))
    frames = barred(film * alpha + busy * (1.0 - alpha), 0, 40)
    for name, pictures in (("frames", frames), ("masks", barred(alpha.expand(-1, -1, -1, 3), 0, 40))):
        (tmp_path / name).mkdir()
        for index, picture in enumerate(pictures):
            write_png(tmp_path / name / f"{index}.png", picture)
    said = follow(folder, tmp_path / "run", tmp_path / "frames", "--mask", tmp_path / "masks")
    assert "bars" in said and abs(azimuth(said) - 45.0) <= 5.0


def test_bars_that_show_the_picture_again_are_refused(filmed: tuple[Path, Tensor, Tensor], tmp_path: Path) -> None:
    folder, film, _ = filmed
    wide = torch.nn.functional.interpolate(film.movedim(-1, 1), size=(128, 300), mode="bilinear")
    wide = avg_pool2d(wide, 15, stride=1, padding=7, count_include_pad=False).movedim(1, -1) * 0.6
    texture = 0.3 * torch.rand(wide.shape[1:], generator=torch.Generator().manual_seed(1))
    wide = wide + texture
    wide[:, :, 70:230] = film
    WRITERS[".mp4"](tmp_path / "wide.mp4", wide.clamp(0.0, 1.0), 8)
    said = follow(folder, tmp_path / "run", tmp_path / "wide.mp4", code=3)
    assert "--mask" in said
