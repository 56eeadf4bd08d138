"""The Frechet distance against two other implementations on the same features, and against its laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from stages.metrics.frechet import frechet_distance


def features(count: int, dimensions: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(dimensions, dimensions, generator=generator, dtype=torch.float64)
    return torch.randn(count, dimensions, generator=generator, dtype=torch.float64) @ mix / dimensions**0.5 + 0.1 * seed


def by_matrix_root(a: Tensor, b: Tensor) -> float:
    """The formula as it is written, with scipy's matrix square root."""
    one, two = np.cov(a.numpy(), rowvar=False), np.cov(b.numpy(), rowvar=False)
    apart = float((a.mean(0) - b.mean(0)).square().sum())
    return float(apart + np.trace(one) + np.trace(two) - 2.0 * np.trace(sqrtm(one @ two)).real)


class AsTheyAre(nn.Module):
    """ "Features" that are the pictures themselves."""

    num_features = 8

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures.flatten(1)


@pytest.mark.parametrize(("here", "there"), [(40, 60), (200, 30), (9, 10)])
def test_equals_the_formula_with_scipys_root(here: int, there: int) -> None:
    a, b = features(here, 8, 1), features(there, 8, 2)
    assert frechet_distance(a, b) == pytest.approx(by_matrix_root(a, b), rel=1e-7)


def test_equals_torchmetrics() -> None:
    a, b = features(50, 8, 1), features(70, 8, 2)
    metric = FrechetInceptionDistance(feature=AsTheyAre(), normalize=True).set_dtype(torch.float64)
    metric.update(a.reshape(-1, 2, 2, 2), real=False)
    metric.update(b.reshape(-1, 2, 2, 2), real=True)
    assert frechet_distance(a, b) == pytest.approx(float(metric.compute()), rel=1e-6)


def test_equals_the_eigenvalues_with_fewer_samples_than_dimensions() -> None:
    """Where covariances are singular and matrix roots fail."""
    a, b = features(12, 40, 1), features(20, 40, 2)
    values = torch.linalg.eigvals(torch.cov(a.T) @ torch.cov(b.T)).real.clamp(min=0.0).sqrt().sum()
    apart = (a.mean(0) - b.mean(0)).square().sum()
    expected = apart + torch.cov(a.T).trace() + torch.cov(b.T).trace() - 2.0 * values
    assert frechet_distance(a, b) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("count", [5, 100])
def test_laws(count: int) -> None:
    a = features(count, 16, 3)
    shift = torch.linspace(-1.0, 1.0, 16, dtype=torch.float64)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(a + shift, a) == pytest.approx(float(shift.square().sum()), rel=1e-9)
    centred = a - a.mean(dim=0)
    spread = float(centred.square().sum()) / (count - 1)
    assert frechet_distance(3.0 * centred, centred) == pytest.approx(4.0 * spread, rel=1e-9)  # (3 - 1)^2 tr S
    assert frechet_distance(a, features(30, 16, 4)) == pytest.approx(frechet_distance(features(30, 16, 4), a), rel=1e-9)
