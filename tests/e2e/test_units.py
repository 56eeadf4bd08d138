"""The units of a file say nothing about its motion: the same bytes after ``distill``, whatever --scale was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stages.conventions import frame_times
from stages.distill import DistillConfig
from stages.distill import run as distill
from stages.events import silent
from stages.gaussians.formats.ply import write_ply
from stages.moving.asset import load_moving_asset
from stages.reconstruct import ReconstructConfig
from stages.reconstruct import run as reconstruct
from stages.run_dir import RunDir
from stages.settings import with_settings
from tests.gaussians.test_ply import splat
from tests.priors.test_embedded import tiny_prior


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("units")
    asset = splat(1, count=40)
    write_ply(folder / "asset.ply", replace(asset, log_scales=asset.log_scales - 3.0))
    tiny_prior().save(folder / "prior")
    distilled(folder, 1.0)
    return folder


def distilled(place: Path, scale: float) -> RunDir:
    run = RunDir(place / f"run-{scale:g}")
    reconstruct(run, ReconstructConfig(scale=scale), silent, file=place / "asset.ply")
    few = {
        "prompt": "walking", "prior": str(place / "prior"), "steps": 6, "preview_every": 0,
        "motion.hexplane.spatial_resolution": 6, "score.every": 2, "score.static_branch": "none",
    }  # fmt: skip
    distill(run, with_settings(DistillConfig(), few), silent)
    return run


def relative(run: RunDir) -> torch.Tensor:
    """Displacements in the file's units, over the diagonal of the asset."""
    moving = load_moving_asset(run, "auto", "cpu")
    rest = moving.file_gaussians.means
    moves = moving.in_file(moving.at(frame_times(5))).means - rest
    return moves / (rest.amax(0) - rest.amin(0)).norm()


@pytest.mark.parametrize("scale", [0.0009765625, 64.0])
def test_powers_of_two_give_the_same_bytes(place: Path, scale: float) -> None:
    run, usual = distilled(place, scale), RunDir(place / "run-1")
    for name in ("motion/motion.safetensors", "motion/metrics.jsonl"):
        assert (run.path / name).read_bytes() == (usual.path / name).read_bytes(), name
    torch.testing.assert_close(run.load_asset().means, scale * usual.load_asset().means, atol=0, rtol=0)
    here, there = (json.loads((one.path / "motion/config.json").read_text())["settings"] for one in (run, usual))
    assert here == there


@pytest.mark.parametrize("scale", [0.001, 100.0, 1e5])
def test_other_factors_give_nearly_the_same(place: Path, scale: float) -> None:
    usual = relative(RunDir(place / "run-1"))
    away = (relative(distilled(place, scale)) - usual).norm(dim=-1)
    assert usual.abs().max() > 1e-3  # it moves
    assert away.mean() <= 1e-3 and away.max() <= 1e-2
