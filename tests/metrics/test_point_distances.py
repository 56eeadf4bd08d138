"""CD-3D, CD-4D and CD-M: values worked out by hand, and what each of them forgives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from stages.metrics.point_distances import NOTHING, align, chamfer, motion_chamfer, point_distances


def cloud(count: int = 300, seed: int = 0) -> Tensor:
    """Points of an L-shaped body, which no rotation maps to itself."""
    points = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))
    points = points * torch.tensor([2.0, 0.5, 0.3])
    points[: count // 3] = points[: count // 3] * torch.tensor([0.2, 3.0, 1.0])
    return points


def turned(degrees: float) -> Tensor:
    angle = torch.deg2rad(torch.tensor(degrees))
    cos, sin = float(angle.cos()), float(angle.sin())
    return torch.tensor([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])


def test_chamfer_by_hand() -> None:
    """From the truth: 1 and 2; from the points: 1, 0 (doubled), 2 and 1."""
    points = np.array([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0]])
    truth = np.array([[1.0, 0.0, 0.0], [4.0, 2.0, 0.0], [4.0, 0.0, 0.0]])
    assert chamfer(points, truth) == pytest.approx((1 + 2 + 0) / 3 + (1 + 0) / 2)


def test_motion_chamfer_by_hand() -> None:
    """Pairs of frame 0 are kept: in frame 1 the two points have changed places, which the sets do not show."""
    a, b = [0.0, 0.0, 0.0], [3.0, 0.0, 0.0]
    points, truth = np.array([[a, b], [b, a]]), np.array([[a, b], [a, b]])
    assert motion_chamfer(points, truth) == pytest.approx(2 * (0 + 0 + 3 + 3) / 4)
    assert chamfer(points[1], truth[1]) == 0.0


def test_the_truth_has_no_distance_in_any_unit_and_order() -> None:
    truth = torch.stack([cloud(), cloud() + 0.3])
    shuffled = truth[:, torch.randperm(300, generator=torch.Generator().manual_seed(1))]
    for scale in (1.0, 1000.0):
        found = point_distances(scale * shuffled, scale * truth)
        assert max(found.cd_3d, found.cd_4d, found.cd_m) < 1e-6


def test_units_are_half_the_box_of_all_true_frames() -> None:
    """Two far points that stay, and one that is 1 off in frame 1; the box is 10 wide. One point cannot be aligned
    away: rotations, shifts and scales hold the far ones in place."""
    still = torch.tensor([[0.0, 0, 0], [10.0, 0, 0], [0.0, 10, 0], [0.0, 0, 10], [5.0, 5, 5]]).double()
    truth = still.expand(2, -1, -1).clone()
    points = truth.clone()
    points[1, 4] += torch.tensor([0.0, 1.0, 0.0]).double()
    found = point_distances(points, truth)
    assert found.cd_4d == pytest.approx(0.5 * 2 * (1.0 / 5) / 5)  # half of the frames, both ways, one in five
    assert found.cd_m == pytest.approx(0.5 * 2 * (1.0 / 5) / 5)
    assert found.cd_3d <= found.cd_4d + 1e-9


def test_what_each_forgives() -> None:
    """A body that stands elsewhere from the start: all. One that walks off: CD-3D alone. One whose points run about
    within it: CD-3D and CD-4D."""
    body = cloud()
    truth = torch.stack([body, body, body])
    elsewhere = point_distances(1.2 * truth @ turned(15.0) + 0.1, truth)
    assert max(elsewhere.cd_3d, elsewhere.cd_4d, elsewhere.cd_m) < 1e-3
    walks = point_distances(torch.stack([body, body + 0.2, body + 0.4]), truth)
    assert walks.cd_3d < 1e-3 and walks.cd_4d > 0.1 and walks.cd_m > 0.1
    order = torch.randperm(300, generator=torch.Generator().manual_seed(2))
    runs = point_distances(torch.stack([body, body[order], body]), truth)
    assert runs.cd_3d < 1e-6 and runs.cd_4d < 1e-6 and runs.cd_m > 0.1


def test_finds_rotation_shift_and_scale_of_each_axis() -> None:
    body = cloud().double()
    truth = (body * torch.tensor([1.1, 0.9, 1.05])) @ turned(12.0).double() + 0.05
    found = align(body.numpy(), truth.numpy(), NOTHING)
    assert np.abs(found(body.numpy()) - truth.numpy()).max() < 1e-6
    assert found.scales == pytest.approx([1.1, 0.9, 1.05], abs=1e-6)
    assert pytest.approx(turned(12.0).numpy(), abs=1e-6) == found.R


def test_flat_and_single_points() -> None:
    flat = cloud() * torch.tensor([1.0, 1.0, 0.0])
    found = point_distances(torch.stack([flat, flat]), torch.stack([flat, flat]))
    assert found.cd_4d == pytest.approx(0.0, abs=1e-9)
    one = point_distances(torch.zeros(2, 1, 3), torch.ones(2, 1, 3))
    assert np.isfinite([one.cd_3d, one.cd_4d, one.cd_m]).all()
