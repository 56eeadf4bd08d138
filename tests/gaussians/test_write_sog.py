"""The palette of harmonics in a ``.sog``: the nearest entries, whichever way they are found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from stages.gaussians.formats.write_sog import MOST_FOR_TREE, PALETTE, ROWS, _nearest, _palette


@pytest.mark.parametrize("width", [MOST_FOR_TREE, 24, 45])
def test_the_nearest_entries(width: int) -> None:
    rng = np.random.default_rng(0)
    entries, vectors = rng.normal(size=(40, width)), rng.normal(size=(ROWS + 5, width))
    found = _nearest(entries, vectors)
    away = np.linalg.norm(vectors[:, None] - entries, axis=2)
    np.testing.assert_array_equal(found, away.argmin(axis=1))
    np.testing.assert_array_equal(found, cKDTree(entries).query(vectors)[1])


def test_a_palette_is_nearer_than_what_it_was_drawn_from() -> None:
    """Three kinds of vectors with a little noise: k-means finds more of it than the vectors drawn at first."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3, 45))[rng.integers(3, size=2000)] + 0.01 * rng.normal(size=(2000, 45))
    entries, labels = _palette(vectors)
    assert len(entries) == PALETTE[0] and labels.shape == (2000,)
    drawn = vectors[rng.permutation(2000)[: PALETTE[0]]]
    off, at_first = vectors - entries[labels], vectors - drawn[_nearest(drawn, vectors)]
    assert (off**2).mean() < 0.9 * (at_first**2).mean() < (0.01**2)
