"""What render makes of a motion: a loop that closes, and the asset at rest beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stages.errors import BadInput, NotAvailable
from stages.events import silent
from stages.gaussians import Gaussians
from stages.gaussians.normalised import normalised
from stages.gaussians.sh import rgb_to_sh0
from stages.geometry.rotations import quaternion_matrices
from stages.motion.hexplane import HexPlane, HexPlaneConfig
from stages.moving.asset import MovingAsset, load_moving_asset
from stages.render import RenderConfig, body_path, travel
from stages.render import run as render
from stages.run_dir import RunDir
from tests.gaussians.test_ply import splat


def moving(asset: Gaussians) -> HexPlane:
    """A field of large motions."""
    torch.manual_seed(0)
    asset = normalised(asset)
    sizes = HexPlaneConfig(spatial_resolution=4, time_resolution=3, multires=(1,), features=4, hidden=8)
    field = HexPlane(sizes, *asset.bounds())
    torch.nn.init.normal_(field.decoder[-1].weight, std=0.3)  # type: ignore[arg-type]
    return field


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    asset = splat(1, count=30)
    run.put_asset(replace(asset, log_scales=asset.log_scales - 2.0), "goat.ply", force=False)
    folder, field = run.stage("motion"), moving(asset)
    folder.begin(config={}, inputs={}, total_steps=1, force=False)
    folder.write_result("motion.safetensors", field.tensors(), field.metadata() | {"prompt": "a goat"})
    folder.finish(1)
    return run


def test_a_loop_ends_where_it_begins_and_as_fast(run: RunDir) -> None:
    asset = replace(load_moving_asset(run, "motion", "cpu"), loop=True)
    ends = torch.tensor([0.0, 2e-4, 1.0 - 2e-4, 1.0])
    frames = asset.at(ends)
    means, turns = frames.means, quaternion_matrices(frames.quats)
    torch.testing.assert_close(means[0], means[3], atol=1e-5, rtol=0)
    torch.testing.assert_close(turns[0], turns[3], atol=1e-3, rtol=0)
    torch.testing.assert_close(means[1] - means[0], means[3] - means[2], atol=1e-5, rtol=0)
    assert float((means[1] - means[0]).abs().max()) > 5e-5
    straight: MovingAsset = replace(asset, loop=False)
    middle = straight.at(torch.tensor([0.25 + 0.4 * 0.75]))
    torch.testing.assert_close(asset.at(torch.tensor([0.4])).means, middle.means)


def test_comparison_has_the_asset_at_rest_on_the_left(run: RunDir, tmp_path: Path) -> None:
    config = RenderConfig(frames=3, width=32, height=24, compare=True)
    render(run, config, silent, out=tmp_path / "clip.png")
    frames = [np.asarray(Image.open(path)).astype(int) for path in sorted(tmp_path.glob("clip_*.png"))]
    assert len(frames) == 3 and frames[0].shape == (24, 64, 3)
    assert (frames[0][:, :32] == frames[2][:, :32]).all() and (frames[0][:, :32] == frames[0][:, 32:]).all()
    assert np.abs(frames[2][:, :32] - frames[2][:, 32:]).max() > 20


def pictures(run: RunDir, out: Path, config: RenderConfig) -> np.ndarray:
    """Frames [T, H, W, 3] of what is rendered."""
    render(run, config, silent, out=out / "clip.png")
    return np.stack([np.asarray(Image.open(path)).astype(int)[..., :3] for path in sorted(out.glob("clip_*.png"))])


def test_the_ground_is_behind_the_body_and_only_there(run: RunDir, tmp_path: Path) -> None:
    config = RenderConfig(frames=10, width=48, height=40, source="static")  # more frames than a batch
    plain, ground = (pictures(run, tmp_path / name, replace(config, ground=name == "on")) for name in ("off", "on"))
    assert (ground == ground[:1]).all()  # the asset at rest, and its shadow, in every frame
    assert (ground <= plain + 1).all()  # light falls on no Gaussian, and white is the brightest ground
    assert (plain - ground)[0, -1].min() > 10  # the nearest tiles
    assert (ground[0, 0] == plain[0, 0]).all()  # above the horizon


def test_a_camera_that_follows_keeps_a_travelling_body_in_its_place(run: RunDir) -> None:
    class Travels(MovingAsset):
        def displacements(self, points: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
            way = 30.0 * times[:, None, None] * torch.tensor([1.0, 0.0, 0.5])
            return way + 0.1 * torch.sin(20.0 * times)[:, None, None] * torch.tensor([0.0, 1.0, 0.0]) + 0.0 * points

    asset = load_moving_asset(run, "motion", "cpu")
    asset = Travels(asset.gaussians, asset.motion, "motion", "")
    config, times = RenderConfig(frames=12, width=48, height=40, follow=True), asset.times(12)
    path, (low, high) = body_path(asset, times, config)
    torch.testing.assert_close(path.diff(dim=0)[:, [0, 2]], torch.tensor([[30.0, 15.0]]).expand(11, 2) / 11)
    assert float(path[:, 1].abs().max()) == 0.0  # it stays level
    assert float((high - low).max()) < 3.0  # though the body goes thirty times its size
    with pytest.raises(BadInput, match="--follow"):
        travel(asset, times, replace(config, camera=Path("path.json")))


def test_followed_pictures_differ_from_those_of_a_camera_that_stands(run: RunDir, tmp_path: Path) -> None:
    config = RenderConfig(frames=3, width=32, height=24, ground=True, compare=True)
    stands, follows = (pictures(run, tmp_path / str(on), replace(config, follow=on)) for on in (False, True))
    assert stands.shape == follows.shape == (3, 24, 64, 3) and (stands[:, :, 32:] != follows[:, :, 32:]).any()
    assert (follows[:, :, :32] == follows[:1, :, :32]).all()  # what stands beside it is seen by cameras that stand


@pytest.mark.parametrize(("out", "background"), [("clip.ply", "white"), ("clip.webm", "transparent")])
def test_a_ground_needs_a_picture_to_be_in(run: RunDir, tmp_path: Path, out: str, background: str) -> None:
    with pytest.raises(BadInput, match="--ground"):
        render(run, RenderConfig(ground=True, background=background), silent, out=tmp_path / out)


def test_odd_videos_are_padded_and_what_cannot_be_is_one_line(run: RunDir, tmp_path: Path) -> None:
    told: list[Any] = []
    config = RenderConfig(frames=2, width=33, height=17, source="static")
    render(run, config, told.append, out=tmp_path / "clip.mp4")
    assert "33 x 17" in said(told) and "34 x 18" in said(told)
    told.clear()
    render(run, replace(config, width=34, height=18), told.append, out=tmp_path / "clip.mp4")
    assert "padded" not in said(told)
    render(run, replace(config, width=1, height=1), silent, out=tmp_path / "dot.png")
    for frames, width, height, word in ((2, 1, 1, "1 x 1"), (31, 10**6, 10**6, "1000000 x"), (2, 17000, 32, "17000")):
        wrong = replace(config, frames=frames, width=width, height=height)
        with pytest.raises(BadInput) as caught:
            render(run, wrong, silent, out=tmp_path / "no.mp4")
        assert word in caught.value.what
    with pytest.raises(NotAvailable, match=r"render needs about .* GB of memory, .* It fits with --size "):
        render(run, replace(config, frames=31, width=10**6, height=10**6), silent, out=tmp_path / "no.png")
    assert not list(tmp_path.glob("no*"))


def test_a_white_body_is_shown_on_grey_unless_told_otherwise(tmp_path: Path) -> None:
    asset = splat(1, count=30)
    for name, rgb, corner in (("white", 0.97, 128), ("dark", 0.3, 255)):
        run = RunDir(tmp_path / name)
        sh = torch.zeros_like(asset.sh)
        sh[:, 0] = rgb_to_sh0(torch.full((30, 3), rgb))
        run.put_asset(replace(asset, sh=sh, log_scales=asset.log_scales - 2.0), "goat.ply", force=False)
        told: list[Any] = []
        config = RenderConfig(frames=1, width=24, height=24, source="static")
        for background, expected in (("auto", corner), ("white", 255)):
            config = replace(config, background=background)
            render(run, config, told.append, out=tmp_path / f"{name}.png")
            picture = np.asarray(Image.open(next(tmp_path.glob(f"{name}*.png"))))
            assert abs(int(picture[0, 0, 0]) - expected) <= 1
        assert ("--background" in said(told)) == (name == "white")


def said(told: list[Any]) -> str:
    """All texts that were told."""
    return " ".join(getattr(event, "text", "") for event in told)
