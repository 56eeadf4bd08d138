"""Where a body faces: what is asked of the network by its make, and the shipped weights on bodies it knows."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stages.assets import asset_path
from stages.errors import BadInput
from stages.gaussians import Gaussians
from stages.gaussians.facing import parse_facing, wrapped
from stages.gaussians.formats.ply import read_ply
from stages.priors.facing import (
    NUM_DIRECTIONS,
    STEP_DEG,
    FacingNetwork,
    direction_logits,
    facing_of,
    find_facing,
    load,
    save,
    turn_about_y,
)
from tests.gaussians.test_ply import splat


def turned(asset: Gaussians, degrees: float) -> Gaussians:
    """The asset's points turned from +z towards +x; how its Gaussians lie does not count here."""
    return replace(asset, means=asset.means @ turn_about_y(degrees).T)


def test_turning_and_mirroring_the_points_turns_and_mirrors_the_answer() -> None:
    torch.manual_seed(0)
    networks, points = [FacingNetwork(width=16, signals=8) for _ in range(2)], torch.randn(2, 60, 3)
    logits = direction_logits(networks, points)
    assert logits.shape == (NUM_DIRECTIONS + 1,) and logits[:-1].std() > 1e-3
    for number in (1, 7, 18):
        seen = direction_logits(networks, points @ turn_about_y(number * STEP_DEG).T)
        torch.testing.assert_close(seen[:-1], logits[:-1].roll(number), atol=1e-4, rtol=0)
    mirrored = direction_logits(networks, points * torch.tensor([-1.0, 1.0, 1.0]))
    torch.testing.assert_close(mirrored[:-1].flip(0).roll(1), logits[:-1], atol=1e-4, rtol=0)
    torch.testing.assert_close(mirrored[-1], logits[-1], atol=1e-4, rtol=0)


def test_an_answer_lies_between_directions_on_an_axis_or_nowhere() -> None:
    logits = torch.full((NUM_DIRECTIONS + 1,), -20.0)
    logits[[3, 4]] = 5.0
    between = facing_of(logits)
    assert between.degrees == pytest.approx(3.5 * STEP_DEG, abs=1.0) and between.confidence == 0.999
    logits[[3, 4]] = -20.0
    logits[[11, 12, 13]] = torch.tensor([3.0, 5.0, 3.5])
    assert facing_of(logits).degrees == -180.0
    logits[0] = 5.5
    split = facing_of(logits)
    assert split.degrees == 0.0 and split.confidence is not None and split.confidence < 0.6
    logits[-1] = 9.0
    assert facing_of(logits).degrees is None


@pytest.mark.parametrize("name", ["deer", "dolphin", "robot", "fox"])
def test_the_shipped_weights_know_where_sample_splats_face(name: str) -> None:
    asset = read_ply(asset_path("splats", f"{name}.ply"))
    for degrees in (0.0, 70.0, 180.0, -110.0):
        found = find_facing(turned(asset, degrees))
        assert found.degrees is not None and abs(wrapped(found.degrees - degrees)) <= 20.0
        assert found.confidence is not None and found.confidence > 0.6
    assert find_facing(asset) == find_facing(asset)


def test_tiny_assets_have_an_answer() -> None:
    for count in (1, 5):
        assert find_facing(splat(0, count=count)).confidence is not None


def test_weights_that_are_damaged_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--facing"):
        load(tmp_path)
    save(tmp_path, [FacingNetwork(width=16, signals=8)], 1.5, {"bodies": 3})
    assert load(tmp_path).temperature == 1.5
    (tmp_path / "weights.safetensors").write_bytes(b"short")
    with pytest.raises(BadInput, match="cannot be read"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("said", "degrees"),
    [("+z", 0.0), ("-z", -180.0), ("+x", 90.0), ("-X", -90.0), ("180", -180.0), ("270", -90.0), ("-30.5", -30.5),
     ("725", 5.0), ("none", None)],
)  # fmt: skip
def test_what_is_said_becomes_degrees(said: str, degrees: float | None) -> None:
    facing = parse_facing(said)
    assert facing is not None and facing.degrees == degrees and facing.confidence is None
    assert math.isfinite(facing.used_deg)


def test_auto_is_to_be_found_and_nonsense_is_refused() -> None:
    assert parse_facing("auto") is None
    for said in ("forward", "+y", "nan", ""):
        with pytest.raises(BadInput, match="degrees from"):
            parse_facing(said)
