"""Travel: a body that pushes itself on goes as fast as its feet say; one that stands, or is told to, stays."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from stages.errors import BadInput
from stages.gaussians import Gaussians
from stages.motion.point_paths import PointPaths, PointPathsConfig
from stages.motion.timing import Timing
from stages.moving.asset import MovingAsset
from stages.moving.travel import parse_travel, travel_of

STRIDE = 0.5


def walker() -> MovingAsset:
    """A bar on two points for feet: each goes back along the ground for half of the time, then forward in the air."""
    points = torch.tensor([[-0.2, 0.0, 0.0], [0.2, 0.0, 0.0], [-0.2, 1.0, 0.0], [0.2, 1.0, 0.0], [0.0, 1.0, 0.0]])
    motion = PointPaths(PointPathsConfig(num_points=5, neighbours=1, turn_neighbours=1), points, cyclic=True)
    times = motion.basis.times()
    moves = torch.zeros(5, len(times), 3)
    for foot, phase in ((0, 0.0), (1, 0.5)):
        turn = 2.0 * math.pi * (times + phase)
        moves[foot, :, 2] = STRIDE / 2 * turn.cos()
        moves[foot, :, 1] = 0.3 * (-turn.sin()).clamp(min=0.0)
    motion.set_paths(motion.basis.coefficients(moves))
    asset = Gaussians(
        means=points,
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(5, 4),
        log_scales=torch.full((5, 3), -3.0),
        logit_opacities=torch.zeros(5),
        sh=torch.zeros(5, 1, 3),
    )
    return MovingAsset(asset, motion, "motion", "a walk", timing=Timing(2.0, 2))


def far(asset: MovingAsset, said: str | float) -> Tensor:
    return travel_of(asset, said, facing_deg=90.0)


def test_feet_that_go_back_push_the_body_forward() -> None:
    travel = far(walker(), "auto")
    assert travel[2] > 1.0 and travel[:2].abs().max() < 0.1 * travel[2]  # two cycles of two pushes of about a stride


def test_it_is_added_to_the_motion_on_the_spot() -> None:
    asset = walker()
    asset = MovingAsset(
        asset.gaussians, asset.motion, "motion", "", timing=asset.timing, travel=torch.tensor([0.0, 0, 3])
    )
    still = walker()
    times = torch.tensor([0.0, 0.5, 1.0])
    extra = asset.displacements(asset.gaussians.means, times) - still.displacements(asset.gaussians.means, times)
    torch.testing.assert_close(extra[:, 0, 2], torch.tensor([0.0, 1.5, 3.0]))
    torch.testing.assert_close(extra[:, :, 2], extra[:, :1, 2].expand(3, 5))


def test_a_speed_is_in_units_of_the_asset_a_second_and_goes_where_it_faces() -> None:
    torch.testing.assert_close(far(walker(), 0.25), torch.tensor([0.5, 0.0, 0.0]), rtol=0, atol=1e-6)
    assert not far(walker(), "none").any()


def test_what_is_no_speed_is_refused() -> None:
    assert parse_travel("auto") == "auto" and parse_travel("-1.5") == -1.5
    for text in ("fast", "nan", ""):
        with pytest.raises(BadInput, match="--travel"):
            parse_travel(text)
