"""A still and its camera: render sees the same with that file; a clip of the asset's own file can be filmed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.assets import asset_path
from stages.errors import BadInput
from stages.media.colours import parse_background
from tests.e2e.command import animus3d

DOLPHIN = asset_path("rigged", "Dolphin.glb")
pytestmark = pytest.mark.skipif(not DOLPHIN.exists(), reason="the rigged bodies are only in a checkout")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("still") / "run"
    animus3d("reconstruct", DOLPHIN, "--num-gaussians", 600, "--facing", "none", "--run", folder)
    return folder


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def test_render_sees_what_the_still_shows(run: Path, tmp_path: Path) -> None:
    still = tmp_path / "new" / "dolphin.png"
    animus3d("still", "--azimuth", -60, "--elevation", 20, "--fov", 28, "--size", "96x64", "--background",
             "255,128,0", "--out", still, "--run", run)  # fmt: skip
    content = json.loads(still.with_suffix(".json").read_text())
    assert (content["width"], content["height"]) == (96, 64)
    assert content["keyframes"][0]["azimuth"] == pytest.approx(-60) and content["keyframes"][0]["fov"] == 28
    picture = pixels(still)
    assert picture.shape == (64, 96, 3) and (picture[0, 0] == [255, 128, 0]).all()
    common = ("--source", "static", "--background", "#ff8000", "--frames", 1, "--run", run)
    said = animus3d("render", tmp_path / "a.png", "--camera", still.with_suffix(".json"), *common)
    assert "96 x 64" in said.stdout + said.stderr and "--size" in said.stdout + said.stderr
    assert np.abs(pixels(tmp_path / "a_0000.png") - picture).max() <= 2
    animus3d("render", tmp_path / "b.png", "--camera", still.with_suffix(".json"), "--size", 48, *common)
    assert pixels(tmp_path / "b_0000.png").shape == (48, 48, 3)
    animus3d("still", "--camera", still.with_suffix(".json"), "--background", "transparent", "--out",
             tmp_path / "c.png", "--run", run)  # fmt: skip
    clear = pixels(tmp_path / "c.png")
    assert clear.shape == (64, 96, 4) and clear[0, 0, 3] == 0 and clear[..., 3].max() > 200
    animus3d("still", "--camera", still.with_suffix(".json"), "--size", "48x32", "--out", tmp_path / "d.png",
             "--run", run)  # fmt: skip
    smaller = pixels(tmp_path / "c.png")[::2, ::2, 3] > 128
    seen = np.abs(pixels(tmp_path / "d.png") - 255).max(axis=-1) > 60
    assert (smaller & seen).sum() > 0.65 * (smaller | seen).sum()


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (("--size", "97x64"), "97 x 64"),
        (("--background", "256,0,0"), "256,0,0"),
        (("--elevation", "90"), "elevation"),
        (("--out", "a.jpg"), "a.jpg"),
        (("--camera", "nowhere.json"), "nowhere.json"),
    ],
)
def test_what_no_still_can_be(run: Path, arguments: tuple[str, ...], culprit: str) -> None:
    assert culprit in animus3d("still", *arguments, "--run", run, code=BadInput.exit_code).stderr


def test_a_clip_of_the_file_is_filmed(run: Path, tmp_path: Path) -> None:
    animus3d("render", tmp_path / "swim.png", "--source", f"{DOLPHIN}#Swim", "--frames", 8, "--size", 64, "--azimuth",
             90, "--run", run)  # fmt: skip
    frames = np.stack([pixels(path) for path in sorted(tmp_path.glob("swim_*.png"))])
    assert len(frames) == 8
    changes = [np.abs(frames[i] - frames[(i + 1) % 8]).mean() for i in range(8)]
    assert min(changes) > 0.3 and changes[7] < 2.5 * np.median(changes)  # it moves, and is a loop
    animus3d("render", "--source", f"{DOLPHIN}#Swim", "--size", 32, "--run", run)
    assert (run / "renders" / "Dolphin_Swim.mp4").exists()
    assert "Fly" in animus3d("render", "--source", f"{DOLPHIN}#Fly", "--run", run, code=BadInput.exit_code).stderr
    deer = f"{asset_path('rigged', 'Deer.glb')}#Walk"
    assert "Deer.glb" in animus3d("render", "--source", deer, "--run", run, code=BadInput.exit_code).stderr


def test_a_background_like_the_asset_is_told(run: Path, tmp_path: Path) -> None:
    common = ("--size", 64, "--out", tmp_path / "a.png", "--run", run)
    animus3d("still", "--background", "transparent", *common)
    clear = pixels(tmp_path / "a.png")
    own = np.median(clear[clear[..., 3] > 240][:, :3], axis=0).astype(int)
    for background, told in ((",".join(map(str, own)), True), ("0,200,80", False)):
        said = animus3d("still", "--background", background, *common)
        assert ("colour of the background" in said.stdout + said.stderr) == told


def test_colours() -> None:
    assert parse_background("transparent") is None
    assert (parse_background("#ff8000") == parse_background("255, 128,0")).all()  # type: ignore[union-attr]
    for bad in ("1,2", "1,2,-3", "pink", "#12345"):
        with pytest.raises(BadInput, match=bad):
            parse_background(bad)
