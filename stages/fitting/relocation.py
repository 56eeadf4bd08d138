"""3D Gaussian Splatting as Markov Chain Monte Carlo (Kheradmand et al. 2024): a fixed number of Gaussians, of which
those that have become transparent move to where the others are.

gsplat's ``MCMCStrategy`` moves them the same way. It is used on no device, because its kernel needs CUDA and its draws
take no generator: a resumed fit would differ from one that was not interrupted. Its ``DefaultStrategy`` needs the
gradients of projected means, which only gsplat's rasterizer gives.
The paper's noise on the means is left out: it reaches only Gaussians that are about to move, and a fit here is short.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

DEAD_OPACITY = 0.005
MAX_COPIES = 51
"""As gsplat: more copies of one Gaussian are treated as this many."""


def shared_out(opacities: Tensor, scales: Tensor, copies: Tensor) -> tuple[Tensor, Tensor]:
    """Opacities [M] and scales [M, 3] with which ``copies`` [M] equal Gaussians look like the one they replace (Eq. 9).

    1 - (1 - o')^n = o keeps the centre; the scale makes the integral of the composited profile along a line equal,
    s' = s o / sum_{i=1..n} sum_{k=0..i-1} C(i-1, k) (-1)^k o'^(k+1) / sqrt(k+1).
    """
    copies = copies.clamp(1, MAX_COPIES)
    opacities, wide = opacities.double(), scales.double()
    new = 1.0 - (1.0 - opacities) ** (1.0 / copies)
    # the sum over i of C(i-1, k) for i <= n is C(n, k+1): one sum over k is left
    total = torch.zeros_like(new)
    for k in range(int(copies.max())):
        binomials = torch.tensor([float(math.comb(n, k + 1)) for n in range(MAX_COPIES + 1)], dtype=torch.float64)
        total += binomials.to(new.device)[copies] * (-1) ** k * new ** (k + 1) / math.sqrt(k + 1)
    return new.to(scales), (wide * (opacities / total)[:, None]).to(scales)


def relocations(opacities: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """``(dead, chosen)``, integer [D] each: the transparent Gaussians, and for each the living one whose place it
    shares, drawn in proportion to opacity."""
    opacities = opacities.detach().cpu()
    dead = (opacities <= DEAD_OPACITY).nonzero()[:, 0]
    alive = (opacities > DEAD_OPACITY).nonzero()[:, 0]
    if len(dead) == 0 or len(alive) == 0:
        return dead[:0], dead[:0]
    drawn = torch.multinomial(opacities[alive], len(dead), replacement=True, generator=generator)
    return dead, alive[drawn]
