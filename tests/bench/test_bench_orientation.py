"""The benchmark of orientation on one clip with few Gaussians: figures within their bars, which can be missed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from stages.gaussians import Frames
from stages.geometry.rotations import quaternion_matrices
from stages.zoo.rigs import rigs
from tests.bench import bench_orientation
from tests.bench.bench_orientation import AT_LEAST, BARS, Truth, angles, measure, missed, polar, summary, truth

KNIGHT = next(rig for rig in rigs() if rig.file == "Knight.glb")


@pytest.fixture(scope="module")
def found() -> Truth:
    return truth(KNIGHT, "dance", 1500)


def test_a_clip_is_within_the_bars(found: Truth) -> None:
    figures = measure(found)
    assert not missed(figures), figures
    assert figures["local_normal_median_deg"] < 1.0


def test_gaussians_that_do_not_turn_miss_them(found: Truth) -> None:
    """What the bars are there for."""
    asset, shape = found.frames.asset, (found.frames.num_frames, -1, -1)
    stiff = (found.frames.rotations[:1].expand(shape), asset.quats.expand(shape), asset.scales.expand(shape))
    figures = measure(Truth(Frames(asset, found.frames.means, stiff), found.A, found.led, found.normals))
    assert {"turn_median_deg", "normal_median_deg", "within_0.1_deg_of_svd"} <= set(missed(figures)), figures


def test_the_truth_is_where_the_body_is(found: Truth) -> None:
    """``A`` is a rotation where one joint has all the weight, and the identity in the frame at rest."""
    identity = torch.eye(3, dtype=torch.float64).expand_as(found.A[0])
    torch.testing.assert_close(found.A[0], identity, atol=1e-4, rtol=0)
    size = found.A.square().sum(dim=(-2, -1))
    assert float((size - 3.0).abs().median()) < 1e-3
    rest = quaternion_matrices(found.frames.asset.quats)[:, :, 2]
    assert float((rest * found.normals[0]).sum(dim=-1).abs().min()) > 0.99


def test_angles_and_polar_factors() -> None:
    turn = quaternion_matrices(torch.tensor([0.9238795325, 0.0, 0.3826834324, 0.0], dtype=torch.float64))  # 45 degrees
    assert float(angles(turn, torch.eye(3, dtype=torch.float64))) == pytest.approx(45.0, abs=1e-6)
    stretched = turn @ torch.diag(torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64))
    torch.testing.assert_close(polar(stretched), turn)
    assert float(torch.linalg.det(polar(-stretched))) == pytest.approx(1.0)


def test_the_saved_summary_follows_from_the_saved_clips() -> None:
    saved = json.loads((Path(bench_orientation.__file__).parent / "results" / "orientation.json").read_text())
    assert len(saved["clips"]) == saved["num_clips"] == sum(len(rig.verbs) for rig in rigs())
    again = summary(saved["clips"])
    assert again["worst_clip"] == saved["worst_clip"] and again["median_clip"] == saved["median_clip"]
    assert saved["missed"] == {clip: missed(figures) for clip, figures in saved["clips"].items() if missed(figures)}
    for name, bar in BARS.items():  # of the whole, every bar is met
        figure = saved["median_clip"][name]
        assert figure >= bar if name in AT_LEAST else figure <= bar
