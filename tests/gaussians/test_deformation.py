"""Turns and stretches of neighbourhoods: known deformations, degenerate ones, sequences; the kernels and their twin."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stages.gaussians import Frames, Gaussians, deformation, deformation_cpu
from stages.gaussians.deformation import RIDGE, STRETCH, Neighbourhoods
from stages.geometry.rotations import best_quaternions, quaternion_matrices, quaternion_multiply
from stages.zoo.clips import rigged_clip
from stages.zoo.rigs import rigs

BOTH = pytest.mark.parametrize("deform", [deformation.deform, deformation_cpu.deform], ids=["reference", "cpu"])
Deform = Callable[[Neighbourhoods, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
ONE = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _gaussians(count: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    quats = torch.nn.functional.normalize(_random(count, 4, seed=seed), dim=-1)
    return quats, torch.exp(_random(count, 3, seed=seed + 1) - 3.0)


def _covariances(quats: Tensor, scales: Tensor) -> Tensor:
    half = quaternion_matrices(quats.double()) * scales.double()[..., None, :]
    return half @ half.mT


def _about(axis: int, degrees: float) -> Tensor:
    quat = torch.zeros(4, dtype=torch.float64)
    quat[0], quat[1 + axis] = math.cos(math.radians(degrees) / 2), math.sin(math.radians(degrees) / 2)
    return quat


def _degenerate() -> dict[str, tuple[Tensor, Tensor]]:
    """Points at rest [N, 3] and moved [T, N, 3] whose neighbourhoods tell no turn."""
    line = torch.linspace(-1.0, 1.0, 30, dtype=torch.float64)[:, None] * torch.tensor([1.0, 2.0, -1.0]).double()
    cloud = _random(40, 3)
    wild = _random(3, 40, 3, seed=5)
    return {
        "none": (cloud[:0], wild[:, :0]),
        "one": (cloud[:1], wild[:, :1]),
        "two": (cloud[:2], wild[:, :2]),
        "coincident at rest": (cloud[:1].expand(40, 3).contiguous(), wild),
        "coincident once moved": (cloud, wild[:, :1].expand(3, 40, 3).contiguous()),
        "a line at rest": (line, wild[:, :30]),
        "a line once moved": (cloud, wild[..., :1] * torch.tensor([1.0, 1.0, 0.5]).double()),
    }


@pytest.mark.parametrize("name", _degenerate())
@BOTH
def test_a_neighbourhood_that_tells_no_turn_keeps_what_it_was(deform: Deform, name: str) -> None:
    rest, moved = _degenerate()[name]
    quats, scales = _gaussians(len(rest))
    turns, axes, sizes = deform(Neighbourhoods.of(rest), quats, scales, moved)
    torch.testing.assert_close(turns, ONE.expand_as(turns), rtol=0, atol=0)
    torch.testing.assert_close(axes, quats.expand_as(axes), rtol=0, atol=1e-9)
    torch.testing.assert_close(sizes, scales.expand_as(sizes), rtol=1e-9, atol=0)


@BOTH
def test_where_nothing_has_moved_not_a_bit_changes(deform: Deform) -> None:
    """Nor does it where the body has only moved along, as far as numbers can say so; the others go on as they were."""
    rest = torch.round(_random(60, 3) * 64.0) / 64.0  # sums are exact
    quats, scales = (values.float() for values in _gaussians(60))
    moved = torch.stack([rest, rest + 2.0, rest + 0.1 * _random(60, 3, seed=3), rest]).float()
    turns, axes, sizes = deform(Neighbourhoods.of(rest.float()), quats, scales, moved)
    for frame in (0, 1, 3):
        assert torch.equal(axes[frame], quats) and torch.equal(sizes[frame], scales)
        assert torch.equal(turns[frame], ONE.float().expand(60, 4))
    assert not torch.equal(axes[2], quats)


@BOTH
def test_a_rigid_turn_turns_everything_and_stretches_nothing(deform: Deform) -> None:
    rest = _random(80, 3) * torch.tensor([1.0, 1.0, 0.0]).double()  # in a plane: the determinant decides
    quats, scales = _gaussians(80)
    given = torch.nn.functional.normalize(_random(5, 4, seed=7), dim=-1)
    moved = rest @ quaternion_matrices(given).mT + torch.tensor([0.3, -1.0, 2.0]).double()
    turns, axes, sizes = deform(Neighbourhoods.of(rest), quats, scales, moved)
    R = quaternion_matrices(given)[:, None]
    torch.testing.assert_close(quaternion_matrices(turns), R.expand(5, 80, 3, 3), rtol=0, atol=1e-9)
    torch.testing.assert_close(quaternion_matrices(axes), R @ quaternion_matrices(quats), rtol=0, atol=1e-8)
    torch.testing.assert_close(sizes, scales.expand_as(sizes), rtol=1e-8, atol=0)


@BOTH
def test_a_stretch_is_found_up_to_its_ridge_and_clamped(deform: Deform) -> None:
    """A sheet drawn out along x: its Gaussians widen along x, not across and not in thickness."""
    axis = torch.linspace(-1.0, 1.0, 15, dtype=torch.float64)
    rest = torch.cartesian_prod(axis, axis, torch.zeros(1).double())
    middle = 7 * 15 + 7
    quats, scales = ONE.expand(225, 4), torch.tensor([0.1, 0.1, 0.01]).double().expand(225, 3)
    drawn = torch.tensor([[1.5, 1.0, 1.0], [20.0, 1.0, 1.0], [0.01, 1.0, 1.0]]).double()
    _, axes, sizes = deform(Neighbourhoods.of(rest), quats, scales, rest * drawn[:, None])
    assert (1.5 + RIDGE) / (1.0 + RIDGE) - 0.05 < float(sizes[0, middle, 0]) / 0.1 < 1.5
    torch.testing.assert_close(sizes[0, middle, 1:], scales[0, 1:], rtol=1e-6, atol=0)
    torch.testing.assert_close(quaternion_matrices(axes[0, middle]), torch.eye(3).double(), rtol=0, atol=1e-6)
    assert float(sizes[1].max()) <= 0.1 * STRETCH[1] * (1 + 1e-9)
    assert float(sizes[2, :, :2].min()) >= 0.1 * STRETCH[0] * (1 - 1e-9)


@BOTH
def test_a_limb_that_only_touches_has_no_say(deform: Deform) -> None:
    """Two thighs side by side, a tenth of their width apart; one swings by 60 degrees, the other stands."""
    leg = torch.rand(400, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    leg = (leg - 0.5) * torch.tensor([0.3, 2.0, 0.3]).double()
    rest = torch.cat([leg, leg + torch.tensor([0.33, 0.0, 0.0]).double()])
    swing = quaternion_matrices(_about(0, 60.0))
    moved = torch.cat([rest[:400], rest[400:] @ swing.T])[None]
    quats, scales = _gaussians(800)
    turns = quaternion_matrices(deform(Neighbourhoods.of(rest), quats, scales, moved)[0][0])
    expected = torch.eye(3).double().repeat(800, 1, 1)
    expected[400:] = swing
    off = torch.rad2deg(2.0 * torch.asin(((turns - expected).square().sum(dim=(1, 2)) / 8.0).sqrt()))
    far = leg[:, 1].abs().repeat(2) > 0.3  # at the height of the hip the two hardly move apart
    assert float(off[far].quantile(0.95)) < 5.0 and float(off[far].median()) < 0.5


@BOTH
def test_axes_keep_their_names_while_the_stretch_turns_around(deform: Deform) -> None:
    """A disc drawn out along a direction that goes around by 180 degrees: its axes would jump by 90 on the way if each
    frame took those nearest to rest. What they span is right in every frame."""
    rest = _random(300, 3)
    quats = torch.stack([_about(2, 1.2 * index) for index in range(300)])
    scales = torch.tensor([0.1, 0.1, 0.01]).double().expand(300, 3)
    angles = torch.linspace(0.0, 180.0, 37)
    spins = quaternion_matrices(torch.stack([_about(2, float(angle)) for angle in angles]))
    A = spins @ torch.diag(torch.tensor([1.5, 0.9, 1.0]).double()) @ spins.mT
    _, axes, sizes = deform(Neighbourhoods.of(rest), quats, scales, rest @ A.mT)
    inside = rest.norm(dim=-1) < 1.5  # at the border neighbours lie on one side
    turned = 2.0 * torch.rad2deg(torch.acos((axes[1:] * axes[:-1]).sum(dim=-1).clamp(max=1.0)))[:, inside]
    assert float(turned.median()) == pytest.approx(5.0, abs=1.0) and float(turned.max()) < 45.0
    assert float((sizes[1:] / sizes[:-1]).log().abs()[:, inside].max()) < 0.3


@pytest.mark.parametrize("verb", ["jump", "run"])
def test_axes_and_signs_of_a_clip_change_no_more_than_they_must(verb: str) -> None:
    """Of the 24 ways to name and point the axes of a frame none is nearer to the frame before, seen from the body; and
    no quaternion changes its sign. Apart from frames at rest, which keep the asset's own."""
    frames = rigged_clip(rigs()[0], verb, 16, 1000, torch.Generator().manual_seed(0))
    R = quaternion_matrices(frames.rotations.double())
    axes = R.mT @ quaternion_matrices(frames.quats.double())  # in the body's frame
    between = axes[:-1].mT @ axes[1:]
    ways = torch.einsum("tnij,kji->tnk", between, deformation._namings().double())
    own = between.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    assert float((ways.amax(dim=-1) - own).max()) < 1e-4
    for quats in (frames.rotations, frames.quats):
        assert float((quats[1:] * quats[:-1]).sum(dim=-1).min()) >= 0.0
    assert float((frames.quats[0] * frames.asset.quats).sum(dim=-1).min()) > 0.99


def _scenes() -> dict[str, tuple[Tensor, Tensor]]:
    rest = _random(200, 3)
    bent = torch.stack([rest @ quaternion_matrices(_about(k % 3, 25.0 * k)).T for k in range(9)])
    mirrored = rest * torch.tensor([1.0, 1.0, -1.0]).double()
    return _degenerate() | {
        "wild": (rest, _random(6, 200, 3, seed=4)),
        "bent": (rest, bent + 0.05 * _random(9, 200, 3, seed=4)),
        "flat": (rest * torch.tensor([1.0, 1.0, 0.0]).double(), bent),
        "mirrored": (rest, torch.stack([mirrored, mirrored + 0.1 * _random(200, 3, seed=4)])),
        "stops in between": (rest, torch.stack([bent[2], rest, bent[3], rest])),
    }


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", _scenes())
def test_the_kernels_do_what_the_reference_does(name: str, dtype: torch.dtype) -> None:
    rest, moved = (values.to(dtype) for values in _scenes()[name])
    quats, scales = (values.to(dtype) for values in _gaussians(len(rest)))
    around = Neighbourhoods.of(rest)
    mine = deformation_cpu.deform(around, quats, scales, moved)
    truth = deformation.deform(around, quats, scales, moved)
    assert all(values.dtype == dtype for values in (*mine, *truth))
    # where two turns are nearly as good as each other, the last digits decide: a mirrored body
    most = 1e-5 if dtype == torch.float32 else 1e-6
    for one, other in zip(mine, truth, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=most)


def test_threads_do_not_change_a_bit() -> None:
    frames = rigged_clip(rigs()[0], "jump", 5, 1200, torch.Generator().manual_seed(0))
    asset = frames.asset
    alone = deformation_cpu.deform(asset.neighbourhoods, asset.quats, asset.scales, frames.means)
    torch.set_num_threads(3)
    try:
        threaded = deformation_cpu.deform(asset.neighbourhoods, asset.quats, asset.scales, frames.means)
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(one, other) for one, other in zip(alone, threaded, strict=True))


def test_the_moved_covariance_is_that_of_the_local_deformation() -> None:
    """Against ``A C A^T`` of one affine map, up to the ridge and to the correlation that is dropped."""
    rest = _random(500, 3)
    quats, scales = _gaussians(500)
    spin = quaternion_matrices(torch.nn.functional.normalize(_random(4, seed=8), dim=-1))
    S = torch.eye(3).double() + 0.04 * (_random(3, 3, seed=9) + _random(3, 3, seed=9).T)
    A = spin @ S
    _, axes, sizes = deformation_cpu.deform(Neighbourhoods.of(rest), quats, scales, (rest @ A.T)[None])
    found, expected = _covariances(axes[0], sizes[0]), A @ _covariances(quats, scales) @ A.T
    error = (found - expected).norm(dim=(1, 2)) / expected.norm(dim=(1, 2))
    unmoved = (_covariances(quats, scales) - expected).norm(dim=(1, 2)) / expected.norm(dim=(1, 2))
    assert float(error.median()) < 0.08 and float(unmoved.median()) > 0.5


def test_frames_derive_once_and_keep_what_they_derived() -> None:
    asset = Gaussians(
        means=_random(50, 3).float(), quats=best_quaternions(_random(50, 3, 3)).float(),
        log_scales=_random(50, 3).float() - 3.0, logit_opacities=torch.zeros(50), sh=torch.zeros(50, 1, 3),
    )  # fmt: skip
    turn = quaternion_matrices(_about(1, 40.0)).float()
    frames = Frames(asset, torch.stack([asset.means, asset.means @ turn.T, asset.means]))
    expected = quaternion_multiply(_about(1, 40.0).float().expand(50, 4), asset.quats)
    torch.testing.assert_close(quaternion_matrices(frames.quats[1]), quaternion_matrices(expected), atol=1e-4, rtol=0)
    assert frames.quats is frames.quats and not frames.quats.requires_grad
    part = frames.select(torch.tensor([1, 2]))
    assert torch.equal(part.quats, frames.quats[1:]) and torch.equal(part.scales, frames.scales[1:])
