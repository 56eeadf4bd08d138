"""Spherical-harmonic colour: gsplat's signs, orthonormal bands, exact rotations."""

from __future__ import annotations

import pytest
import torch

from stages.gaussians.sh import eval_sh, rgb_to_sh0, rotate_sh, sh0_to_rgb, sh_basis
from stages.geometry.rotations import quaternion_matrices


def _directions(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, 3, generator=generator, dtype=torch.float64), dim=-1)


def test_basis_is_gsplats() -> None:
    """Order and signs, against the implementation that every viewer's files follow; it carries 7 digits."""
    from gsplat.cuda._torch_impl import _eval_sh_bases_fast

    directions = _directions(50)
    torch.testing.assert_close(sh_basis(directions, 3), _eval_sh_bases_fast(16, directions), atol=1e-6, rtol=0)


def test_basis_is_orthonormal_over_the_sphere() -> None:
    """Gauss-Legendre in z and even steps in azimuth integrate products of degree 6 exactly."""
    import numpy as np

    nodes, weights = (torch.from_numpy(array) for array in np.polynomial.legendre.leggauss(8))
    azimuths = 2.0 * torch.pi * torch.arange(16, dtype=torch.float64) / 16
    ring = (1.0 - nodes**2).sqrt()[:, None]
    directions = torch.stack(
        [ring * azimuths.cos(), ring * azimuths.sin(), nodes[:, None].expand(8, 16)], dim=-1
    )  # [8, 16, 3]
    basis = sh_basis(directions, 3)
    gram = torch.einsum("z,zaj,zak->jk", weights * 2.0 * torch.pi / 16, basis, basis)
    torch.testing.assert_close(gram, torch.eye(16, dtype=torch.float64), atol=1e-12, rtol=0)


def test_degree_0_is_a_plain_colour() -> None:
    rgb = torch.tensor([[0.0, 0.25, 1.0], [0.5, 0.5, 0.5]])
    torch.testing.assert_close(sh0_to_rgb(rgb_to_sh0(rgb)), rgb)
    assert torch.equal(rgb_to_sh0(rgb)[1], torch.zeros(3))
    seen = eval_sh(rgb_to_sh0(rgb)[:, None], _directions(2).float())
    torch.testing.assert_close(seen, rgb, atol=1e-6, rtol=0)


def test_colours_are_never_negative() -> None:
    dark = eval_sh(torch.full((1, 1, 3), -10.0), torch.tensor([[0.0, 0.0, 1.0]]))
    assert torch.equal(dark, torch.zeros(1, 3))


def test_eval_broadcasts_over_frames() -> None:
    sh = 0.2 * torch.randn(7, 9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    directions = _directions(21).reshape(3, 7, 3)
    per_frame = torch.stack([eval_sh(sh, directions[t]) for t in range(3)])
    assert torch.equal(eval_sh(sh, directions), per_frame)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_rotation_is_a_homomorphism_that_keeps_every_band(degree: int) -> None:
    """Turning twice is turning by the product; each degree keeps its energy; there and back is the identity."""
    sh = torch.randn(6, (degree + 1) ** 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    A, B = quaternion_matrices(torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64))
    turned = rotate_sh(sh, A)
    torch.testing.assert_close(rotate_sh(turned, B), rotate_sh(sh, B @ A), atol=1e-12, rtol=0)
    torch.testing.assert_close(rotate_sh(turned, A.mT), sh, atol=1e-12, rtol=0)
    for band in range(degree + 1):
        rows = slice(band**2, (band + 1) ** 2)
        torch.testing.assert_close(turned[:, rows].norm(dim=1), sh[:, rows].norm(dim=1), atol=1e-12, rtol=0)


def test_a_quarter_turn_moves_the_lobe_along_z_to_x() -> None:
    """Golden: the degree-1 harmonic of +z (+0.4886 z), turned by 90 degrees about y, is that of +x (-0.4886 x)."""
    sh = torch.zeros(1, 4, 3)
    sh[0, 2] = 1.0
    turn = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    expected = torch.zeros(1, 4, 3)
    expected[0, 3] = -1.0
    torch.testing.assert_close(rotate_sh(sh, turn), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_rotated_harmonics_are_the_old_ones_seen_from_the_turned_direction(degree: int) -> None:
    sh = 0.2 * torch.randn(10, (degree + 1) ** 2, 3, generator=torch.Generator().manual_seed(1))
    R = quaternion_matrices(torch.randn(10, 4, generator=torch.Generator().manual_seed(2)))
    directions = torch.nn.functional.normalize(torch.randn(10, 3, generator=torch.Generator().manual_seed(3)), dim=-1)
    seen = eval_sh(sh, (R.mT @ directions[..., None])[..., 0])
    torch.testing.assert_close(eval_sh(rotate_sh(sh, R), directions), seen, atol=1e-5, rtol=0)
