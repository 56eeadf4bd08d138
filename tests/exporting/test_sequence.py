"""Numbered splats: each frame is the field's, colours turn along, names are those that SuperSplat sorts; and errors."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from plyfile import PlyData
from scipy.spatial import cKDTree

from animus3d_cli.main import main
from stages.cameras import orbit_camera
from stages.conventions import frame_times
from stages.errors import BadInput, CannotWrite, MissingStage
from stages.events import Caution, Event, Note, silent
from stages.export import FORMATS, ExportConfig
from stages.export import run as export
from stages.exporting import player
from stages.gaussians.formats import read_splat
from stages.gaussians.formats.ply import read_ply
from stages.gaussians.formats.splat_file import read_splat_file
from stages.gaussians.formats.spz import read_spz
from stages.gaussians.sh import eval_sh
from stages.gaussians.transform import turn_upright
from stages.geometry.rotations import quaternion_matrices
from stages.metrics.image import psnr
from stages.moving.asset import load_moving_asset
from stages.raster import choose, render
from stages.run_dir import RunDir
from tests.exporting.runs import moments, moving_run, small_splat

SUPERSPLAT = re.compile(r"(.*?)(\d+)(?:\.compressed)?\.ply$")
"""What its import makes an animation of: one prefix for all, sorted by the number."""

INRIA = [
    *"xyz", "nx", "ny", "nz", *(f"f_dc_{i}" for i in range(3)), *(f"f_rest_{i}" for i in range(45)), "opacity",
    *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4)),
]  # fmt: skip


@pytest.mark.parametrize("degree", [0, 3])
def test_ply_frames_are_the_fields_and_in_the_order_of_the_trainer(tmp_path: Path, degree: int) -> None:
    run = moving_run(tmp_path / "run", small_splat(degree))
    first = export(run, ExportConfig(format="ply-sequence", frames=4), silent, out=tmp_path / "out" / "goat2.ply")
    names = sorted(path.name for path in first.parent.iterdir())
    matches = [SUPERSPLAT.match(name) for name in names]
    assert [(m[1], int(m[2])) for m in matches if m] == [("goat2_", index) for index in range(4)]
    assert list(PlyData.read(str(first))["vertex"].data.dtype.names) == INRIA
    _, moved = moments(run, frame_times(4))
    assert (moved.means[3] - moved.means[0]).abs().max() > 0.05
    for index, name in enumerate(names):
        frame = read_ply(first.parent / name)
        torch.testing.assert_close(frame.means, moved.means[index])
        turned = quaternion_matrices(frame.quats) - quaternion_matrices(moved.quats[index])
        assert turned.abs().max() < 1e-4
        torch.testing.assert_close(frame.scales, moved.scales[index])
        view = orbit_camera(azimuth_deg=40, elevation_deg=20, radius=3.0, fov_deg=40, width=24, height=20)
        drawn = render(frame, [view], choose("cpu", "reference")).rgb
        ours = render(moved.select(slice(index, index + 1)), [view], choose("cpu", "reference")).rgb
        torch.testing.assert_close(drawn, ours, atol=2e-4, rtol=0)


def test_splat_and_spz_frames_are_the_fields(tmp_path: Path) -> None:
    run = moving_run(tmp_path / "run", small_splat(1))
    asset, moved = moments(run, frame_times(3))
    for suffix, read, tolerance in (("splat", read_splat_file, 1e-6), ("spz", read_spz, 1e-3)):
        out = tmp_path / f"goat.{suffix}"
        assert (
            export(run, ExportConfig(format="splat-sequence", frames=3), silent, out=out).name == f"goat_0000.{suffix}"
        )
        for index in range(3):
            frame = read(tmp_path / f"goat_{index:04d}.{suffix}")
            frame = turn_upright(frame, "-y") if suffix == "splat" else frame
            torch.testing.assert_close(frame.means, moved.means[index], atol=tolerance, rtol=0)
            turned = quaternion_matrices(frame.quats) - quaternion_matrices(moved.quats[index])
            assert turned.abs().max() < 0.05  # eight bits a component, or three of ten
            assert (frame.log_scales - moved.scales[index].log()).abs().max() < 0.07  # sixteenths
    R = quaternion_matrices(moved.rotations[2])
    by_axes = quaternion_matrices(moved.quats[2]) @ quaternion_matrices(asset.gaussians.quats).mT
    assert (by_axes - R).abs().max() > 0.05  # stretched: the axes of the covariance have turned otherwise
    along = torch.tensor([0.0, 0.6, 0.8])
    there = eval_sh(asset.gaussians.sh, R.mT @ along)
    torch.testing.assert_close(eval_sh(frame.sh, along.expand(60, 3)), there, atol=0.03, rtol=0)


def test_loop_comes_back_and_a_longer_sequence_is_pointed_at(tmp_path: Path) -> None:
    run = moving_run(tmp_path / "run", small_splat())
    out, events = tmp_path / "goat.ply", list[Event]()
    export(run, ExportConfig(format="ply-sequence", frames=7, loop=True), silent, out=out)
    frames = torch.stack([read_ply(tmp_path / f"goat_{index:04d}.ply").means for index in range(7)])
    looped = replace(load_moving_asset(run, "motion", "cpu"), loop=True)
    torch.testing.assert_close(frames, looped.in_file(looped.at(torch.arange(7) / 7)).means)
    torch.testing.assert_close(looped.in_file(looped.at(torch.ones(1))).means[0], frames[0])
    assert not torch.allclose(frames[0], frames[3])
    export(run, ExportConfig(format="ply-sequence", frames=5), events.append, out=out)
    assert any(isinstance(event, Caution) and "2 frames" in event.text for event in events)
    assert (tmp_path / "goat_0006.ply").exists()


def test_bad_wishes_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = moving_run(tmp_path / "run", small_splat())
    page = tmp_path / "goat.html"
    for config, out, said in (
        (ExportConfig(format="fbx"), page, "There is no format 'fbx'"),
        (ExportConfig(format="usd"), page, "does not go with usd"),
        (ExportConfig(frames=0), page, "at least 1"),
        (ExportConfig(frames=10**9), page, "--frames 1666666 or fewer"),
        (ExportConfig(source="nowhere"), page, "no source"),
    ):
        with pytest.raises(BadInput, match=re.escape(said)):
            export(run, config, silent, out=out)
    with pytest.raises(BadInput, match="--mesh does not go with html"):
        export(run, ExportConfig(), silent, out=page, mesh=tmp_path / "goat.glb")
    assert not page.exists()
    still = RunDir(tmp_path / "still")
    still.put_asset(small_splat(), "goat.ply", force=False)
    with pytest.raises(MissingStage, match="no motion yet"):
        export(still, ExportConfig(), silent, out=page)
    assert set(FORMATS) == {"ply-sequence", "splat-sequence", "html", "usd", "glb", "splat-glb", "bvh"}


@pytest.mark.parametrize("name", ["html", "ply-sequence"])
def test_an_output_that_cannot_be_written_is_said_so(tmp_path: Path, name: str) -> None:
    run = moving_run(tmp_path / "run", small_splat())
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CannotWrite):
        export(run, ExportConfig(format=name), silent, out=tmp_path / "file" / f"goat{FORMATS[name][0]}")
    assert (tmp_path / "file").read_text() == "in the way"


def test_the_command_ends_with_the_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moving_run(tmp_path / "run", small_splat())
    for line, code in (
        (f"export --run {tmp_path}/run --format html --frames 3 --out {tmp_path}/goat.html", 0),
        (f"export --run {tmp_path}/run --format fbx --out {tmp_path}/goat.fbx", 3),
        (f"export --run {tmp_path}/run --out {tmp_path}/goat.html", 2),
        (f"export --run {tmp_path}/nowhere --format html --out {tmp_path}/goat.html", 4),
    ):
        monkeypatch.setattr("sys.argv", ["animus3d", *line.split()])
        try:
            main()
            done = 0
        except SystemExit as stop:
            done = int(stop.code or 0)
        assert done == code, (line, capsys.readouterr())
    program = sum(path.stat().st_size for path in Path(player.__file__).parent.glob("*.[jch]*"))
    assert (tmp_path / "goat.html").stat().st_size < program + 34_000


@pytest.mark.parametrize("suffix", [".ply", ".compressed.ply", ".sog", ".spz", ".splat"])
def test_sequences_are_the_right_way_up_for_viewers_and_for_us(tmp_path: Path, suffix: str) -> None:
    """Read back they are our frames; as a viewer sees them, y points down, but in ``.spz``. ``--up`` says otherwise."""
    run, said = moving_run(tmp_path / "run", small_splat(1, count=300)), list[Event]()
    first = export(run, ExportConfig(format="splat-sequence", frames=2), said.append, out=tmp_path / f"goat{suffix}")
    assert first.name == f"goat_0000{suffix}" and (tmp_path / f"goat_0001{suffix}").exists()
    hint = [event.text for event in said if isinstance(event, Note) and "--up-axis -y" in event.text]
    assert len(hint) == (suffix == ".splat")
    _, moved = moments(run, frame_times(2))
    back = read_splat(tmp_path / f"goat_0001{suffix}")
    back = turn_upright(back, "-y") if suffix == ".splat" else back
    away, nearest = cKDTree(back.means.numpy()).query(moved.means[1].numpy())
    assert away.max() < 5e-3 and (suffix in (".compressed.ply", ".sog") or (nearest == np.arange(300)).all())
    assert (back.opacities[nearest] - moved.asset.opacities).abs().max() < 4e-3
    if suffix == ".ply":
        stored = PlyData.read(str(first))["vertex"]["y"]
        np.testing.assert_allclose(stored, -moved.means[0, :, 1].numpy(), atol=1e-6)
    plain = export(run, ExportConfig(format="ply-sequence", frames=1, up="y"), silent, out=tmp_path / f"plain{suffix}")
    away, _ = cKDTree(read_splat(plain).means.numpy()).query(moved.means[0].numpy())
    assert away.max() < 5e-3


def test_small_sequences_look_like_the_whole_one(tmp_path: Path) -> None:
    """More than 40 dB, in less than a quarter of the bytes."""
    asset = small_splat(0, count=1500)
    run = moving_run(tmp_path / "run", replace(asset, means=asset.means.clamp(-0.8, 0.8)))
    _, moved = moments(run, frame_times(2))
    view = orbit_camera(azimuth_deg=40, elevation_deg=20, radius=3.0, fov_deg=40, width=64, height=64)
    drawn = render(moved.select(slice(1, 2)), [view], choose("cpu", "cpu")).rgb
    for suffix, most in ((".compressed.ply", 18.5), (".sog", 17.5)):
        out = tmp_path / f"goat{suffix}"
        export(run, ExportConfig(format="ply-sequence", frames=2), silent, out=out)
        path = tmp_path / f"goat_0001{suffix}"
        assert path.stat().st_size < most * 1500 + 6000
        assert float(psnr(render(read_splat(path), [view], choose("cpu", "cpu")).rgb[0], drawn[0])) > 40.0
