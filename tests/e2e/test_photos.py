"""reconstruct from photos as typed, on captures rendered here: better than its start, resumed bit for bit, refused."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from animus3d_cli.main import main
from stages.gaussians import Gaussians
from stages.gaussians.formats.ply import read_ply, write_ply
from stages.raster import choose, render
from stages.run_dir import RunDir
from stages.status import run as status
from tests.captures.files import cameras, write_colmap, write_pictures, write_transforms
from tests.e2e.test_pipeline import environment
from tests.gaussians.test_ply import splat

SMALL = ("--num-gaussians", "150", "--set", "hold_out=4", "--set", "checkpoint_every=10", "--set", "relocate_every=10")


def small_asset() -> Gaussians:
    """A ball of coloured specks."""
    count, generator = 250, torch.Generator().manual_seed(3)
    means = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    means = 0.5 * means * torch.tensor([1.0, 0.6, 0.4])
    sh = torch.stack([2.0 * means[:, 0], 3.0 * means[:, 1], -3.0 * means[:, 2]], dim=-1)[:, None]
    return Gaussians(
        means=means,
        quats=torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(count, 1),
        log_scales=torch.full((count, 3), 0.06).log(),
        logit_opacities=torch.full((count,), 3.0),
        sh=sh,
    )


def write_capture(folder: Path, alpha: bool, count: int = 12, width: int = 40, height: int = 32) -> Path:
    """``transforms.json`` and COLMAP's model (with points) of ``count`` pictures, with alpha or before black."""
    asset, views = small_asset(), cameras(count, width, height)
    rendered = [render(asset, [view], choose("cpu")) for view in views]
    pictures = []
    for one in rendered:
        rgb, opacity = one.rgb[0], one.alpha[0]
        rgba = torch.cat([rgb / opacity.clamp(min=1e-6), opacity], dim=-1) if alpha else rgb
        pictures.append((rgba.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).numpy())
    write_pictures(folder, pictures)
    write_transforms(folder, views)
    points = np.concatenate([asset.means.numpy(), np.full((len(asset.means), 3), 128.0)], axis=1)[::3]
    write_colmap(folder, views, ".bin", points)
    return folder


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    write_capture(folder / "masked", alpha=True)
    write_capture(folder / "opaque", alpha=False)
    return folder


Typed = Callable[..., tuple[int, str]]


@pytest.fixture
def typed(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """``animus3d reconstruct ...`` in this process: its exit code, and what it said."""
    monkeypatch.chdir(workplace)

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["animus3d", "reconstruct", *arguments])
        capsys.readouterr()
        try:
            main()
        except SystemExit as stopped:
            said = capsys.readouterr()
            return int(stopped.code or 0), said.err if stopped.code else said.out
        return 0, capsys.readouterr().out

    return call


def held_out(run: Path) -> dict:  # type: ignore[type-arg]
    found = json.loads((run / "reconstruction" / "held_out.json").read_text())
    assert len(found["views"]) == 3 and found["views_fitted"] == 9
    return found


@pytest.mark.parametrize(
    ("capture", "origin", "gain_db"),
    [
        ("masked", "the visual hull", 1.5),
        ("opaque/sparse/0", "84 points of the file", 1.5),
        ("opaque/transforms.json", "random points", 6.0),
    ],
)
def test_fitting_comes_closer_to_views_it_never_saw(
    workplace: Path, tmp_path: Path, typed: Typed, capture: str, origin: str, gain_db: float
) -> None:
    """After 1 and 60 steps, measured: 23.1 and 25.6 dB; 21.9 and 24.6; 8.0 and 19.0."""
    code, said = typed(capture, "--run", str(tmp_path / "start"), "--steps", "1", *SMALL)
    assert code == 0 and origin in said, said
    code, said = typed(capture, "--run", str(tmp_path / "run"), "--steps", "60", *SMALL)
    assert code == 0 and "3 held-out views: PSNR" in said, said
    start, end = held_out(tmp_path / "start"), held_out(tmp_path / "run")
    assert end["psnr_db"] > start["psnr_db"] + gain_db and end["ssim"] > start["ssim"], (start, end)
    asset = read_ply(tmp_path / "run" / "asset" / "canonical.ply")
    assert 10 < asset.num_gaussians <= 150 and asset.sh_degree == 1
    sheet = np.asarray(Image.open(tmp_path / "run" / "reconstruction" / "preview.png"))
    assert sheet.shape == (2 * 32, 4 * 40, 3) and sheet.std() > 5
    found = status(RunDir(tmp_path / "run"))
    assert found.stages[0].state == "complete" and found.stages[0].steps == 60 and found.source == capture


def test_transforms_and_colmap_give_the_same(workplace: Path, tmp_path: Path, typed: Typed) -> None:
    """Equal cameras up to rounding in the files, so almost equal results: with masks both start from the hull."""
    results = []
    for capture in ("masked/transforms.json", "masked/sparse/0"):
        run = tmp_path / str(len(results))
        assert typed(capture, "--run", str(run), "--steps", "20", *SMALL)[0] == 0
        results.append(held_out(run)["psnr_db"])
    assert results[0] == pytest.approx(results[1], abs=0.3)


def test_killed_and_resumed_equals_uninterrupted(workplace: Path, tmp_path: Path, typed: Typed) -> None:
    """SIGKILL once a checkpoint is there; status names the command that goes on, to the same bytes."""
    arguments = ["masked", "--steps", "60", *SMALL]
    run = tmp_path / "killed"
    command = [sys.executable, "-m", "animus3d_cli", "reconstruct", *arguments, "--run", str(run)]
    with subprocess.Popen(command, cwd=workplace, env=environment(), stdout=subprocess.DEVNULL) as process:
        checkpoint = run / "reconstruction" / "checkpoints" / "step_000010"
        until = time.monotonic() + 120
        while not checkpoint.exists() and time.monotonic() < until:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    found = status(RunDir(run))
    assert found.stages[0].state == "interrupted" and 10 <= (found.stages[0].step or 0) < 60
    assert found.next.startswith("animus3d reconstruct masked --set num_gaussians=150 --steps 60")
    assert not (run / "asset" / "canonical.ply").exists()
    code, said = typed(*arguments, "--run", str(run))
    assert code == 0 and "going on from step" in said
    assert typed(*arguments, "--run", str(tmp_path / "whole"))[0] == 0
    names = ("asset/canonical.ply", "reconstruction/gaussians.safetensors", "reconstruction/metrics.jsonl")
    for name in names:
        assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    code, said = typed(*arguments, "--run", str(run))
    assert code == 0 and "nothing to do" in said
    code, said = typed("masked", "--steps", "60", *SMALL, "--seed", "1", "--run", str(run))
    assert code == 5 and "seed: 0 -> 1" in said
    write_ply(tmp_path / "other.ply", splat(0))
    assert typed(str(tmp_path / "other.ply"), "--run", str(run), "--force")[0] == 0
    assert not (run / "reconstruction").exists()  # of an asset that is no more


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-60])


def _pose(folder: Path, value: float) -> None:
    document = json.loads((folder / "transforms.json").read_text())
    document["frames"][2]["transform_matrix"][0][3] = value
    (folder / "transforms.json").write_text(json.dumps(document))


def _resize(file: Path) -> None:
    with Image.open(file) as picture:
        smaller = picture.resize((20, 20))
    smaller.save(file)


BAD = {
    "a picture is missing": (lambda f: (f / "images" / "003.png").unlink(), "transforms.json", "003.png"),
    "a picture is cut short": (lambda f: _cut(f / "images" / "003.png"), "transforms.json", "003.png is damaged"),
    "pictures differ in size": (lambda f: _resize(f / "images" / "003.png"), "transforms.json", "20x20"),
    "no pictures": (lambda f: shutil.rmtree(f / "images"), "transforms.json", "There is no picture"),
    "wrong JSON": (lambda f: (f / "transforms.json").write_text("[1, 2"), "transforms.json", "cannot be read as JSON"),
    "NaN pose": (lambda f: _pose(f, float("nan")), "transforms.json", "frame 2: the pose holds a value"),
    "COLMAP cut short": (lambda f: _cut(f / "sparse/0/points3D.bin"), "sparse/0", "ends within an entry"),
    "huge count": (
        lambda f: (f / "sparse/0/points3D.bin").write_bytes(b"\xff" * 7 + b"\0" * 91), "sparse/0", "entries but",
    ),
    "an empty folder": (lambda f: None, "images", "neither transforms.json nor a COLMAP model"),
    "nothing there": (lambda f: None, "nowhere.json", "There is no file"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_an_asset_is_kept(workplace: Path, tmp_path: Path, typed: Typed, name: str) -> None:
    spoil, path, words = BAD[name]
    folder = tmp_path / "capture"
    shutil.copytree(workplace / "masked", folder)
    spoil(folder)
    run = RunDir(tmp_path / "run")
    run.put_asset(splat(0), "goat.ply", force=False)
    before = run.asset_hash()
    for where in (run.path, tmp_path / "fresh"):
        code, said = typed(str(folder / path), "--run", str(where), "--force", *SMALL)
        assert code == 3 and words in said and said.count("\n") == 1, said
    assert run.asset_hash() == before and not (run.path / "reconstruction").exists()
    assert {file.name for file in (tmp_path / "fresh").iterdir()} <= {".lock"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pose", "Walk"], "--pose: only for a splat or a mesh"),
        (["--num-gaussians", "3"], "num_gaussians must be from 4 to"),
        (["--num-gaussians", "999999999"], "must be from 4 to 10000000"),
        (["--set", "size_px=0"], "size_px must be at least 1"),
        (["--set", "sh_degree=4"], "sh_degree must be from 0 to 3"),
        (["--set", "hold_out=1"], "views are left to fit"),
        (["--up-axis", "up"], "up cannot be"),
        (["--raster", "magic"], "no rasterizer"),
    ],
)
def test_settings_that_cannot_be_met(typed: Typed, tmp_path: Path, arguments: list[str], words: str) -> None:
    code, said = typed("masked", "--run", str(tmp_path / "fresh"), *arguments)
    assert code == 3 and words in said and said.count("\n") == 1, said
    assert not (tmp_path / "fresh" / "asset").exists() and not (tmp_path / "fresh" / "reconstruction").exists()


def test_another_asset_is_refused_before_the_work(typed: Typed, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.put_asset(splat(0), "goat.ply", force=False)
    code, said = typed("masked", "--run", str(run.path), *SMALL)
    assert code == 5 and "--force" in said and not (run.path / "reconstruction").exists()
