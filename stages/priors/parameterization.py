"""Noise schedules, and the three kinds of prediction: eps, v and flow. The only place that converts between them.

Every prior is described by ``x_t = alpha_t x_0 + sigma_t eps``. Variance-preserving models (ModelScope, CogVideoX, the
embedded prior) have ``alpha = sqrt(abar_t)``, ``sigma = sqrt(1 - abar_t)``; rectified flow (Wan, LTX) has
``alpha = 1 - s``, ``sigma = s``. A denoiser predicts

==========  =======================  =========================================
kind        prediction               source
==========  =======================  =========================================
epsilon     eps                      Ho et al. 2020, Eq. 14
v           alpha eps - sigma x_0    Salimans and Ho 2022, appendix D
flow        eps - x_0                Liu et al. 2022 (diffusers' sign)
==========  =======================  =========================================

``eps`` and ``x_0`` follow from ``x_t`` and any of them by solving two linear equations; v and flow stay finite at zero
signal-to-noise, where going through eps would divide 0 by 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["epsilon", "v_prediction", "flow"]


@dataclass(frozen=True, kw_only=True)
class Parameterization:
    """A schedule and a prediction type.

    ``alphas[t]`` and ``sigmas[t]`` are tables over the integer timesteps ``0 .. num_timesteps - 1``, clean to noisy.
    """

    kind: Kind
    alphas: Tensor  # [num_timesteps] float64
    sigmas: Tensor  # [num_timesteps] float64

    @staticmethod
    def from_betas(betas: Tensor, kind: Kind) -> Parameterization:
        """Variance-preserving schedule of a DDPM with ``betas`` [num_timesteps]."""
        abar = torch.cumprod(1.0 - betas.double(), dim=0)
        return Parameterization(kind=kind, alphas=abar.sqrt(), sigmas=(1.0 - abar).sqrt())

    @staticmethod
    def rectified_flow(num_timesteps: int = 1000, shift: float = 1.0) -> Parameterization:
        """Straight paths; ``shift`` moves mass to high noise as in Stable Diffusion 3 (Esser et al. 2024, Eq. 23)."""
        s = torch.arange(1, num_timesteps + 1, dtype=torch.float64) / num_timesteps
        s = shift * s / (1.0 + (shift - 1.0) * s)
        return Parameterization(kind="flow", alphas=1.0 - s, sigmas=s)

    @property
    def num_timesteps(self) -> int:
        """Number of integer timesteps."""
        return self.alphas.shape[0]

    def timestep_at(self, fraction: float) -> int:
        """Integer timestep at ``fraction`` in [0, 1] of the schedule."""
        return min(self.num_timesteps - 1, max(0, round(fraction * (self.num_timesteps - 1))))

    def alpha_sigma(self, timestep: int | Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """``(alpha, sigma)`` in the dtype of ``like``, shaped to broadcast over its trailing dimensions.

        ``timestep`` is one integer, or a tensor [B] of them; -1 means clean (alpha 1, sigma 0).
        """
        index = torch.as_tensor(timestep, device="cpu").long()
        clean = index < 0
        alpha = torch.where(clean, torch.ones((), dtype=torch.float64), self.alphas[index.clamp(min=0)])
        sigma = torch.where(clean, torch.zeros((), dtype=torch.float64), self.sigmas[index.clamp(min=0)])
        shape = (-1, *([1] * (like.dim() - 1))) if index.dim() else ()
        return alpha.to(like).reshape(shape), sigma.to(like).reshape(shape)

    def add_noise(self, x0: Tensor, eps: Tensor, timestep: int | Tensor) -> Tensor:
        """``x_t = alpha x_0 + sigma eps``."""
        alpha, sigma = self.alpha_sigma(timestep, x0)
        return alpha * x0 + sigma * eps

    def target(self, x0: Tensor, eps: Tensor, timestep: int | Tensor) -> Tensor:
        """What a denoiser of this kind is trained to predict."""
        alpha, sigma = self.alpha_sigma(timestep, x0)
        if self.kind == "epsilon":
            return eps
        if self.kind == "v_prediction":
            return alpha * eps - sigma * x0
        return eps - x0

    def to_x0(self, prediction: Tensor, x_t: Tensor, timestep: int | Tensor) -> Tensor:
        """The clean estimate that a prediction implies."""
        alpha, sigma = self.alpha_sigma(timestep, x_t)
        if self.kind == "epsilon":
            return (x_t - sigma * prediction) / alpha
        if self.kind == "v_prediction":
            return (alpha * x_t - sigma * prediction) / (alpha**2 + sigma**2)
        return (x_t - sigma * prediction) / (alpha + sigma)

    def to_eps(self, prediction: Tensor, x_t: Tensor, timestep: int | Tensor) -> Tensor:
        """The noise estimate that a prediction implies."""
        alpha, sigma = self.alpha_sigma(timestep, x_t)
        if self.kind == "epsilon":
            return prediction
        if self.kind == "v_prediction":
            return (sigma * x_t + alpha * prediction) / (alpha**2 + sigma**2)
        return (x_t + alpha * prediction) / (alpha + sigma)

    def from_x0(self, x0: Tensor, x_t: Tensor, timestep: int | Tensor) -> Tensor:
        """The prediction of this kind that implies the clean estimate ``x0`` (sigma must not be 0)."""
        alpha, sigma = self.alpha_sigma(timestep, x_t)
        return self.target(x0, (x_t - alpha * x0) / sigma, timestep)
