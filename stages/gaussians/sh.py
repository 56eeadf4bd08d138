"""Spherical-harmonic colour: evaluation and rotation, degrees 0 to 3, in INRIA's order and signs."""

from __future__ import annotations

import torch
from torch import Tensor

C0 = 0.28209479177387814
AT_ONCE = 1 << 14
"""Gaussians whose colours are turned at a time: each takes 10 kB meanwhile."""


def rgb_to_sh0(rgb: Tensor) -> Tensor:
    """Degree-0 coefficient of a colour in [0, 1]."""
    return (rgb - 0.5) / C0


def sh0_to_rgb(sh0: Tensor) -> Tensor:
    """Colour of a degree-0 coefficient."""
    return 0.5 + C0 * sh0


def sh_basis(directions: Tensor, degree: int) -> Tensor:
    """Real spherical harmonics [..., (degree + 1)^2] at unit ``directions`` [..., 3], signs as in Kerbl et al. 2023."""
    x, y, z = directions.unbind(dim=-1)
    terms = [torch.full_like(x, C0)]
    if degree >= 1:
        terms += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if degree >= 2:
        terms += [
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (2 * z * z - x * x - y * y),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (x * x - y * y),
        ]
    if degree >= 3:
        terms += [
            -0.5900435899266435 * y * (3 * x * x - y * y),
            2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (4 * z * z - x * x - y * y),
            0.3731763325901154 * z * (2 * z * z - 3 * x * x - 3 * y * y),
            -0.4570457994644658 * x * (4 * z * z - x * x - y * y),
            1.445305721320277 * z * (x * x - y * y),
            -0.5900435899266435 * x * (x * x - 3 * y * y),
        ]
    return torch.stack(terms, dim=-1)


def eval_sh(sh: Tensor, directions: Tensor) -> Tensor:
    """Colours [..., 3] of coefficients [..., K, 3] seen along unit ``directions`` [..., 3], camera to Gaussian."""
    degree = round(sh.shape[-2] ** 0.5) - 1
    return (0.5 + (sh_basis(directions, degree)[..., None] * sh).sum(dim=-2)).clamp(min=0.0)


def rotate_sh(sh: Tensor, R: Tensor) -> Tensor:
    """Coefficients [N, K, 3] of the same colours after turning the Gaussians by ``R`` [N, 3, 3] or [3, 3].

    Turned colours seen along d are the old ones seen along R^T d. Each degree's harmonics span a space that rotations
    keep, so the turned coefficients follow exactly from as many sampled directions as there are harmonics, solved in
    float64.
    """
    degree = round(sh.shape[1] ** 0.5) - 1
    if degree == 0:
        return sh
    generator = torch.Generator().manual_seed(0)
    samples = torch.nn.functional.normalize(torch.randn(64, 3, generator=generator, dtype=torch.float64), dim=-1)
    samples = samples.to(sh.device)
    solve = torch.linalg.pinv(sh_basis(samples, degree))  # [K, S]
    if R.dim() == 2:
        turn = solve @ sh_basis(samples @ R.double(), degree)  # row d becomes (R^T d)^T; [S, K], then [K, K]
        # quarter and half turns are exact: signs and swaps stay what they are
        turn = torch.where((turn - turn.round()).abs() < 1e-9, turn.round(), turn)
        return (turn @ sh.double()).to(sh.dtype)
    parts = zip(R.split(AT_ONCE), sh.split(AT_ONCE), strict=True)
    return torch.cat([(solve @ sh_basis(samples @ r.double(), degree) @ s.double()).to(s.dtype) for r, s in parts])
