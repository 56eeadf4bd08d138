"""reconstruct as typed: what is dropped is said, defaults change nothing, bad files are one line and leave nothing."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from animus3d_cli.main import main
from stages.assets import asset_path
from stages.events import Note
from stages.gaussians.formats import write_splat
from stages.gaussians.formats.ply import read_ply, write_ply
from stages.reconstruct import ReconstructConfig, load_asset
from tests.e2e.command import animus3d
from tests.gaussians.splat_encoders import sog
from tests.gaussians.test_cleaning import BODY, FLOOR, SPECKS, _scene
from tests.gaussians.test_ply import splat
from tests.gaussians.test_splat_glb import glb


def notes(path: Path, **settings: object) -> tuple[torch.Tensor, list[str]]:
    """Means of what ``load_asset`` gives, and its notes."""
    said: list[str] = []
    config = ReconstructConfig(**settings)  # type: ignore[arg-type]
    asset = load_asset(path, config, lambda event: said.append(event.text) if isinstance(event, Note) else None)
    return asset.means, said


def test_defaults_change_nothing(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", splat(2))
    asset = load_asset(tmp_path / "a.ply", ReconstructConfig(), lambda event: pytest.fail(str(event)))
    write_ply(tmp_path / "b.ply", asset)
    assert torch.equal(asset.means, read_ply(tmp_path / "a.ply").means)
    assert torch.equal(asset.sh, read_ply(tmp_path / "a.ply").sh)


def test_a_capture_is_lifted_off_its_floor_and_placed(tmp_path: Path) -> None:
    upside_down = torch.cat([FLOOR, BODY, SPECKS]) * torch.tensor([1.0, -1.0, -1.0])
    write_splat(tmp_path / "a.splat", replace(_scene(upside_down)))
    _, said = notes(tmp_path / "a.splat", max_size=0.9)
    assert "--up-axis -y" in said[0] and said[1] == "--max-size 0.9: 0 of 1,312 Gaussians dropped."
    means, said = notes(tmp_path / "a.splat", up="-y", largest=True, crop=(50.0,), center=True, scale=2.0)
    assert said[0] == "--crop 50: 0 of 1,312 Gaussians dropped." and said[1].startswith("--largest: 9")
    low, high = means.aminmax(dim=0)
    torch.testing.assert_close(low, -high)
    torch.testing.assert_close(high - low, 2.0 * torch.tensor([0.6, 1.0, 0.6]), atol=0.1, rtol=0)


def test_a_rigged_file_rests_in_the_pose_that_is_named() -> None:
    horse = asset_path("rigged", "Horse.glb")
    if not horse.exists():
        pytest.skip("the rigged bodies are only in a checkout")
    bind, said = notes(horse, num_gaussians=300)
    assert "bind pose" in said[0] and "Gallop" in said[0]
    start, said = notes(horse, num_gaussians=300, pose="gallop")
    later, _ = notes(horse, num_gaussians=300, pose="AnimalArmature|Gallop@0.3")
    rest, _ = notes(horse, num_gaussians=300, pose="rest")
    assert not said and not torch.allclose(start, later, atol=0.05)
    torch.testing.assert_close(rest.aminmax(dim=0).max, bind.aminmax(dim=0).max, atol=0.15, rtol=0)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("short.splat", "not a multiple of 32"),
        ("short.spz", "cut short"),
        ("none.splat", "zero Gaussians"),
        ("wrong.spz", "neither with gzip nor with NGSP"),
        ("wrong.ksplat", "cut short"),
        ("wrong.sog", "SOG"),
        ("good.splat --crop 1,2", "1, 4 or 6 numbers"),
        ("good.splat --crop wide", "not a list of numbers"),
        ("good.splat --crop 90,90,90,1", "drops every Gaussian"),
        ("good.splat --min-opacity 2", "--min-opacity must be"),
        ("good.splat --scale 0", "--scale must be above 0"),
        ("good.splat --flip w", "not an axis"),
        ("good.splat --up-axis up", "not an axis"),
        ("good.splat --pose Walk", "has no poses"),
        ("good.splat --facing forward", "facing cannot be 'forward'"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: str, words: str
) -> None:
    write_splat(tmp_path / "good.splat", splat(0))
    write_splat(tmp_path / "short.spz", splat(1))
    for name, content in {
        "short.splat": (tmp_path / "good.splat").read_bytes()[:-5],
        "short.spz": (tmp_path / "short.spz").read_bytes()[:-40],
        "none.splat": b"",
        "wrong.spz": b"hello",
        "wrong.ksplat": b"hello",
        "wrong.sog": b"hello",
    }.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["animus3d", "reconstruct", *line.split(), "--run", "fresh"])
    with pytest.raises(SystemExit) as stopped:
        main()
    message = capsys.readouterr().err
    assert stopped.value.code == 3 and words in message and message.count("\n") == 1, message
    assert not (tmp_path / "fresh" / "asset").exists()


def test_a_few_far_gaussians_are_said_and_neither_frame_it_nor_turn_it(tmp_path: Path) -> None:
    """Two of 200 lie ten thousand times as far out: no word of a floor overhead, and the box is the body's."""
    asset = splat(0, 200)
    means = asset.means.clone()
    means[:2] = torch.tensor([[2e4, -3e4, 0.0], [0.0, -2e4, 1e4]])
    write_ply(tmp_path / "a.ply", replace(asset, means=means))
    said: list[str] = []
    kept = load_asset(tmp_path / "a.ply", ReconstructConfig(), lambda event: said.append(event.text))  # type: ignore[union-attr]
    assert len(said) == 1 and "2 of 200" in said[0] and "--largest" in said[0]
    low, high = kept.bounds()
    assert float((high - low).max()) < 10.0 and kept.num_gaussians == 200


@pytest.mark.parametrize("name", ["meta.json", "", "a.glb"])
def test_splats_that_look_like_something_else(tmp_path: Path, name: str) -> None:
    """SOG as its meta.json or its folder is no capture; Gaussians in glTF are no mesh."""
    folder = tmp_path / "asset"
    folder.mkdir()
    if name == "a.glb":
        glb(folder / name, splat(0))
    else:
        sog(folder / "meta.json", splat(0), 2, bundle=False)
    assert "(20 Gaussians" in animus3d("reconstruct", folder / name, "--run", tmp_path / "run").stdout
