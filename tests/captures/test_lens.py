"""Lenses."""

from __future__ import annotations

import pytest
import torch

from stages.captures.lens import Lens


@pytest.mark.parametrize("fisheye", [False, True])
def test_a_size_that_no_photo_has_leaves_the_lens_as_it_is(fisheye: bool) -> None:
    """OpenCV counts pixels in 32 bits; found by damaged files."""
    K = torch.tensor([[50.0, 0.0, 20.0], [0.0, 50.0, 16.0], [0.0, 0.0, 1.0]])
    lens = Lens(K=K, fisheye=fisheye, coefficients=(0.1, 0.01, 0.0, 0.0))
    found = lens.pinhole(2**32, 2**32)
    assert found.shape == (3, 3) and found.isfinite().all()
