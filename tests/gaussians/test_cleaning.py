"""What a capture's clean-up keeps, on scenes whose answer is known."""

from __future__ import annotations

import torch

from stages.gaussians import Gaussians
from stages.gaussians.cleaning import inside, largest_body, opaque, small


def _scene(points: torch.Tensor, size: float = 0.02) -> Gaussians:
    num = len(points)
    return Gaussians(
        means=points,
        quats=torch.tensor([1.0, 0, 0, 0]).expand(num, 4).clone(),
        log_scales=torch.full((num, 3), size).log(),
        logit_opacities=torch.zeros(num),
        sh=torch.zeros(num, 1, 3),
    )


def _box(num: int, low: tuple[float, ...], high: tuple[float, ...], seed: int) -> torch.Tensor:
    share = torch.rand(num, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).float()
    return torch.tensor(low) + share * (torch.tensor(high) - torch.tensor(low))


FLOOR = _box(900, (-2, 0, -2), (2, 0.05, 2), 0)
BODY = _box(400, (-0.3, 0.8, -0.3), (0.3, 1.8, 0.3), 1)
SPECKS = _box(12, (-3, 3, -3), (3, 6, 3), 2)


def test_the_largest_body_is_not_the_floor() -> None:
    keep = largest_body(_scene(torch.cat([FLOOR, BODY, SPECKS])))
    assert keep[900:1300].float().mean() > 0.98 and not keep[:900].any() and not keep[1300:].any()


def test_a_flat_asset_alone_is_kept() -> None:
    assert largest_body(_scene(torch.cat([FLOOR, SPECKS])))[:900].float().mean() > 0.98
    assert largest_body(_scene(SPECKS[:2])).all()


def test_large_gaussians_reach_farther() -> None:
    """A sparse lower half belongs to a dense upper one where its Gaussians are wide enough to touch it."""
    sparse = torch.cartesian_prod(torch.linspace(-0.3, 0.3, 3), torch.linspace(-0.5, 0.5, 5), torch.tensor([-0.3, 0.3]))
    scene = _scene(torch.cat([BODY, sparse]))
    assert not largest_body(scene)[400:].any()
    scene.log_scales[400:] = torch.tensor(0.2).log()
    scene.log_scales[:400] = torch.tensor(0.15).log()
    assert largest_body(scene)[400:].all()


def test_faint_and_long_ones() -> None:
    scene = _scene(BODY.clone())
    scene.logit_opacities[:7] = -4.0
    scene.log_scales[5:9, 1] = torch.tensor(0.5).log()
    scene.means[0] = 100.0  # a floater far out does not stretch the measure
    assert (~opaque(scene, 0.05)).nonzero()[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert (~small(scene, 0.2)).nonzero()[:, 0].tolist() == [5, 6, 7, 8]


def test_balls_and_boxes() -> None:
    scene = _scene(torch.cat([BODY, SPECKS]))
    assert inside(scene, (1.0,))[:400].all() and not inside(scene, (1.0,))[400:].any()
    assert inside(scene, (0.0, 1.3, 0.0, 0.4)).sum() == (BODY - torch.tensor([0, 1.3, 0])).norm(dim=-1).le(0.4).sum()
    half = inside(scene, (-1.0, 0.0, -1.0, 1.0, 1.3, 1.0))
    assert torch.equal(half[:400], BODY[:, 1] <= 1.3) and not half[400:].any()
