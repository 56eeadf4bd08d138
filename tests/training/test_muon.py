"""Muon in float32: the same steps as PyTorch's own."""

from __future__ import annotations

import torch
from torch import nn

from stages.training.muon import Muon, orthogonal


def test_singular_values_come_near_one() -> None:
    for shape in ((3, 16, 40), (2, 40, 16), (1, 24, 24)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape, generator=torch.Generator().manual_seed(0))))
        assert values.min() > 0.3 and values.max() < 1.3


def test_equals_the_one_of_pytorch() -> None:
    generator = torch.Generator().manual_seed(0)
    first = [torch.randn(shape, generator=generator) for shape in ((32, 32), (64, 32), (32, 64), (32, 32))]
    ours, theirs = ([nn.Parameter(values.clone()) for values in first] for _ in range(2))
    optimisers = (
        Muon(ours, 1e-2, 0.1),
        torch.optim.Muon(theirs, lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(4):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=generator)
            other.grad = one.grad.clone()
        for optimiser in optimisers:
            optimiser.step()
    for one, other, start in zip(ours, theirs, first, strict=True):
        assert (one - other).norm() < 0.03 * (one - start).norm()  # theirs is in bfloat16


def test_what_has_no_gradient_stays() -> None:
    still, moved = nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4, 4))
    moved.grad = torch.eye(4)
    Muon([still, moved], 1e-2, 0.0).step()
    assert torch.equal(still, torch.ones(4, 4)) and not torch.equal(moved, torch.ones(4, 4))
