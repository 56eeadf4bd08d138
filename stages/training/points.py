"""Training steps of the points prior.

First the network learns the mean: from noise alone, which motion these points make under this word. Loops may begin at
any phase, and the error counts at the shift of the cycle where it is least, so that the network settles on one phase
by itself, with no labels. Then it learns the whole flow: the truth is shifted to the phase that the network expects, so
that samples are no averages over phases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stages.geometry.trajectories import NUM_FRAMES, NUM_FUNCTIONS, shift_matrix
from stages.priors.points.model import CHANNELS, PointsModel, Told
from stages.priors.points.noise import body_noise
from stages.training.muon import Muon
from stages.training.point_bank import PointBank

FLOOR = 5e-4
"""Added to an example's mean square displacement before it divides the error, so that small motions count. [ours]"""

WORDLESS = 0.1
"""How often the word is left out, for guidance."""

MANNERLESS = 0.5
"""How often the manner is left open; always where the word is left out."""

SUITS_WEIGHT = 0.05
"""Of the cross-entropy of the manner that suits a body, against the error of the paths. [ours]"""

MEAN_SHARE = 0.3
"""Of the examples that are seen as noise alone once the flow is learnt."""

SHIFT = 2.0
"""Of noise levels towards noise (Esser et al. 2024, Eq. 23)."""


@dataclass(frozen=True)
class Batch:
    """Examples as the network is given them."""

    told: Told
    coefficients: Tensor  # [B, N, K, 3]
    manner: Tensor  # [B] numbers; the number of manners of what does not move


def draw_batch(bank: PointBank, size: int, num_points: int, model: PointsModel, generator: torch.Generator) -> Batch:
    """``size`` examples of the bank, ``num_points`` of the points of each, words and manners left out now and then."""
    num_verbs, num_manners = len(model.verbs), len(model.manners)
    index = torch.randint(0, len(bank.verb), (size,), generator=generator)
    points = torch.randperm(bank.rest.shape[1], generator=generator)[:num_points]
    verb = bank.verb[index].clone()
    verb[torch.rand(size, generator=generator) < WORDLESS] = num_verbs
    manner = bank.manner[index].clone()
    manner[(torch.rand(size, generator=generator) < MANNERLESS) | (verb == num_verbs)] = num_manners
    told = Told(bank.rest[index][:, points].float(), verb, manner, bank.cyclic[index])
    return Batch(told, bank.coefficients[index][:, points].float(), bank.manner[index])


def training_loss(model: PointsModel, batch: Batch, generator: torch.Generator, *, flow: bool) -> Tensor:
    """The error of the clean estimate over the motion's own size, mean over examples, those that are far off counted
    less (pseudo-Huber); and how little of the true manner was seen in noise alone."""
    told, size = batch.told, len(batch.told.verb)
    noise = body_noise(told.rest, CHANNELS, generator)
    level = torch.ones(size)
    truth = batch.coefficients
    if flow:
        drawn = torch.rand(size, generator=generator)
        drawn = SHIFT * drawn / (1.0 + (SHIFT - 1.0) * drawn)
        noisy = torch.rand(size, generator=generator) >= MEAN_SHARE
        level = torch.where(noisy, drawn.clamp(0.02, 1.0), level)
        loops = noisy & told.cyclic.bool()  # what runs through once has one phase
        if loops.any():
            some = told.select(loops)
            with torch.no_grad():
                mean = model.clean(noise[loops], torch.ones(int(loops.sum())), some)
            expected = model.coefficients(mean, some.cyclic)
            truth = truth.clone()
            truth[loops] = in_phase(truth[loops], expected, some.cyclic)
    x0 = model.latents(truth, told.cyclic)
    x_t = (1.0 - level)[:, None, None] * x0 + level[:, None, None] * noise
    clean, suits = model.told_apart(x_t, level, told)
    found = model.coefficients(clean, told.cyclic)
    with torch.no_grad():
        truth = in_phase(truth, found, told.cyclic * (level == 1.0))
    error = (found - truth).square().sum(dim=(2, 3)).mean(dim=1)
    relative = error / (truth.square().sum(dim=(2, 3)).mean(dim=1) + FLOOR)
    loss = (2.0 * ((1.0 + relative).sqrt() - 1.0)).mean()  # about itself where small; one that is far off pulls less
    open_ones = (level == 1.0) & (told.manner == len(model.manners)) & (batch.manner < len(model.manners))
    open_ones &= told.verb < len(model.verbs)
    if open_ones.any():
        loss = loss + SUITS_WEIGHT * nn.functional.cross_entropy(suits[open_ones], batch.manner[open_ones])
    return loss


def in_phase(truth: Tensor, expected: Tensor, cyclic: Tensor) -> Tensor:
    """``truth`` [B, N, K, 3], loops shifted by the share of the cycle that brings them nearest to ``expected``."""
    shifts = [shift_matrix(step / NUM_FRAMES).to(truth) for step in range(NUM_FRAMES)]
    products = torch.einsum("bnjd,bnkd->bjk", expected, truth)  # [B, K, K]
    agreement = torch.stack([(products * shift).sum(dim=(1, 2)) for shift in shifts], dim=1)  # [B, shifts]
    chosen = torch.stack(shifts)[agreement.argmax(dim=1)]  # [B, K, K]
    chosen = torch.where(cyclic.bool()[:, None, None], chosen, torch.eye(NUM_FUNCTIONS).to(truth))
    return torch.einsum("bjk,bnkd->bnjd", chosen, truth)


def new_optimisers(
    network: nn.Module, learning_rate: float, weight_decay: float
) -> list[tuple[list[str], torch.optim.Optimizer]]:
    """Muon for the matrices within the blocks, AdamW for all else, each with the names of what it steps (Jordan et al.
    2024; Liu et al. 2025)."""
    trained = dict(network.named_parameters())
    matrices = [
        name
        for name, parameter in trained.items()
        if name.startswith("blocks.") and parameter.ndim == 2 and not name.endswith("table")
    ]
    others = [name for name in trained if name not in set(matrices)]
    muon = Muon([trained[name] for name in matrices], learning_rate, weight_decay)
    adamw = torch.optim.AdamW([trained[name] for name in others], lr=learning_rate, weight_decay=weight_decay)
    return [(matrices, muon), (others, adamw)]


def learning_rate_at(share: float, warmup: float = 0.02, end: float = 0.05) -> float:
    """Factor at ``share`` of the training: a short rise, then half a cosine down to ``end``."""
    if share < warmup:
        return (share + 1e-3) / warmup
    return end + (1.0 - end) * 0.5 * (1.0 + math.cos(math.pi * (share - warmup) / (1.0 - warmup)))
