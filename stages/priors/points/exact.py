"""A points model whose score is known: the posterior mean over a finite bank of motions of the very points asked about.

As ``stages.priors.exact`` for videos, but for the noise, which varies smoothly over the body. For motions ``z_i`` of a
verb, each equally likely, and ``x_t = (1 - t) z + t e``, ``e ~ N(0, S)`` in each channel,

    E[x_0 | x_t] = sum_i softmax_i(-|x_t - (1 - t) z_i|^2_S / (2 t^2)) z_i,    |y|^2_S = y^T S^-1 y

is exact. Without a word it is that of the motions of all verbs. A verb whose only motion is zero stands still, so that
the static branch of motion score distillation is exact too, with no LoRA.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from stages.priors.points.model import Manner, PointsModel, Told, Verb
from stages.priors.points.network import AnimusPointsModel, NetworkConfig
from stages.priors.points.noise import covariance


class ExactPointsModel(PointsModel):
    """The true score of a bank.

    Args:
        bank: of each verb its motions as latents [M, 3 K, N].
        points: [N, 3] at rest, at which they are.
        scales: see ``PointsModel``.
    """

    def __init__(self, bank: Mapping[Verb, Tensor], points: Tensor, scales: Tensor) -> None:
        network = AnimusPointsModel(NetworkConfig(verbs=("none",), width=32, num_layers=1, head_dim=16))  # never asked
        super().__init__(network, tuple(bank), [Manner("none", "none")], scales)
        self.bank = [motions.flatten(1) for motions in bank.values()]
        self.bank.append(torch.cat(self.bank))
        self._whiten = torch.linalg.inv(torch.linalg.cholesky(covariance(points).double())).float()
        self._white = [self._whitened(motions) for motions in self.bank]

    def told_apart(self, x_t: Tensor, level: Tensor, told: Told) -> tuple[Tensor, Tensor]:
        """See ``PointsModel.told_apart``; no manner suits better than another."""
        white, clean = self._whitened(x_t.flatten(1)), []
        for number, (verb, t) in enumerate(zip(told.verb.tolist(), level.tolist(), strict=True)):
            weights = self.posterior_weights(white[number], float(t), verb)
            clean.append(weights @ self.bank[verb])
        return torch.stack(clean).reshape(x_t.shape), torch.zeros(len(x_t), 1)

    def posterior_weights(self, white: Tensor, t: float, verb: int) -> Tensor:
        """Probability [M] of each motion of a verb given one whitened noisy latent."""
        away = (white - (1.0 - t) * self._white[verb]).square().sum(dim=1)
        return (away / (-2.0 * max(t, 1e-4) ** 2)).softmax(dim=0)

    def _whitened(self, latents: Tensor) -> Tensor:
        """[M, 3 K * N] with the noise's covariance taken out."""
        return (latents.unflatten(1, (-1, len(self._whiten))) @ self._whiten.T).flatten(1)
