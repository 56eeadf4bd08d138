"""What render makes of a motion: a loop that closes, and the asset at rest beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stages.events import silent
from stages.gaussians import Gaussians
from stages.gaussians.normalised import normalised
from stages.geometry.rotations import quaternion_matrices
from stages.motion.hexplane import HexPlane, HexPlaneConfig
from stages.moving.asset import MovingAsset, load_moving_asset
from stages.render import RenderConfig
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
