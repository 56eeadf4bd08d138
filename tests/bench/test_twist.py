"""Twisted limbs get thinner: half at one joint, a little over three."""

from __future__ import annotations

import math

import pytest

from tests.bench.twist import kept_sections


@pytest.mark.parametrize("num_joints", [1, 3])
def test_linear_weights_leave_the_square_of_the_cosine_of_half_the_angle(num_joints: int) -> None:
    kept = kept_sections(90.0, num_joints, heat=False)
    assert float(kept.min()) == pytest.approx(math.cos(math.radians(45.0 / num_joints)) ** 2, abs=1e-4)
    assert float(kept.max()) == pytest.approx(1.0, abs=1e-4)


def test_spread_over_three_joints_most_is_left_with_heat_too() -> None:
    """Measured: 0.500 and 0.890."""
    one, three = (float(kept_sections(90.0, num, heat=True).min()) for num in (1, 3))
    assert one < 0.55 and 0.86 < three < 0.92
    assert float(kept_sections(0.0, 3, heat=True).min()) == pytest.approx(1.0, abs=1e-4)
