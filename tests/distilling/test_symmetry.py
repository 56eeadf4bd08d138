"""What is hidden moves as the body's other side: together in a jump, half a cycle later in a walk."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from stages.cameras import orbit_camera
from stages.distilling.symmetry import FEWEST, Mirrored
from stages.distilling.tracks import Tracks
from stages.gaussians import Frames, Gaussians

FRAMES, PAIRS, LEGS = 12, 40, 20
"""Of the pairs the last ``LEGS`` are legs whose right side no camera sees."""


def body() -> Gaussians:
    """Points to the left (+x) of a body that faces +z, then their mirror images."""
    left = torch.rand(PAIRS, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.4, 2.0, 2.0])
    left += torch.tensor([0.2, 0.0, -1.0])
    means = torch.cat([left, left * torch.tensor([-1.0, 1.0, 1.0])])
    return Gaussians(
        means=means,
        quats=torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(2 * PAIRS, 1),
        log_scales=torch.full((2 * PAIRS, 3), -4.0),
        logit_opacities=torch.zeros(2 * PAIRS),
        sh=torch.zeros(2 * PAIRS, 1, 3),
    )


def swinging(asset: Gaussians, behind: float) -> Tensor:
    """Means [T, N, 3] of two cycles in which the right side swings ``behind`` of a cycle after the left."""
    phase = 2.0 * torch.arange(FRAMES) / FRAMES
    swings = torch.stack([phase, phase - behind], dim=1).repeat_interleave(PAIRS, dim=1)  # [T, N]
    reach = 0.1 + 0.1 * asset.means[:, 1].abs()
    return asset.means + torch.stack([torch.zeros_like(swings), 0.0 * swings, reach * (math.tau * swings).sin()], dim=2)


def seen(asset: Gaussians) -> Tracks:
    """All but the right legs."""
    weights = torch.ones(FRAMES, 2 * PAIRS)
    weights[:, 2 * PAIRS - LEGS :] = 0.0
    camera = orbit_camera(azimuth_deg=45.0, elevation_deg=0.0, radius=5.0, fov_deg=40.0, width=64, height=64)
    return Tracks(camera, torch.zeros(FRAMES, 2 * PAIRS, 2), weights, torch.ones(2 * PAIRS))


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.distilling.symmetry.FEWEST", min(FEWEST, PAIRS - LEGS))


@pytest.mark.parametrize("behind", [0.0, 0.5])
def test_a_hidden_leg_learns_from_the_other(behind: float) -> None:
    asset = body()
    truth = swinging(asset, behind)
    term = Mirrored(1.0, asset, 0.0, [seen(asset)])
    assert term.tells
    hidden = torch.zeros(FRAMES, LEGS, 3, requires_grad=True)
    optimiser = torch.optim.Adam([hidden], lr=0.02)
    for _ in range(150):
        means = torch.cat([truth[:, :-LEGS], asset.means[-LEGS:] + hidden], dim=1)
        loss = term(Frames(asset, means), torch.Generator())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    away = (truth - asset.means)[:, -LEGS:]
    assert float((hidden.detach() - away).norm() / away.norm()) < 0.1


def test_what_is_seen_is_not_pulled() -> None:
    asset = body()
    means = swinging(asset, 0.25).requires_grad_()
    Mirrored(1.0, asset, 0.0, [seen(asset)])(Frames(asset, means), torch.Generator()).backward()
    assert means.grad is not None
    assert bool((means.grad[:, : 2 * PAIRS - LEGS] == 0.0).all())


def test_sides_that_do_not_do_the_same_say_nothing() -> None:
    asset = body()
    moves = torch.randn(FRAMES, 2 * PAIRS, 3, generator=torch.Generator().manual_seed(1))
    explained = Mirrored(1.0, asset, 0.0, [seen(asset)]).delay(moves - moves.mean(dim=0))[1]
    assert explained == 0.0


def test_a_body_without_pairs_says_nothing_of_sides() -> None:
    asset = body()
    away = torch.tensor([1.0, 0.0, 0.37]) * torch.arange(2 * PAIRS)[:, None]
    lonely = replace(asset, means=asset.means + away)
    assert not Mirrored(1.0, lonely, 0.0, [seen(asset)]).tells
