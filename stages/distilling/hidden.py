"""What no camera sees, told by the points prior: how such a body does what the sentence says."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stages.conventions import step_generator
from stages.distilling.sampled import sampled_motion
from stages.distilling.tracks import Tracks
from stages.distilling.viewpoints import ViewsConfig, look_at
from stages.gaussians import Frames, Gaussians
from stages.objectives.follow import SOFT, track_loss
from stages.priors.points import PointsPrior, PointView
from stages.raster import Rasterizer

NUM_SAMPLES, SAMPLE_STEPS = 6, 12
MOMENTS = 48
"""Of a sample, at which its motion is asked."""
SHIFTS = 12
"""Of a loop, that are compared with the video."""
ROUNDS = (0.5, 1.0, 2.0, 3.0)
"""How often a loop may be gone through in the video."""
AMPLITUDES = (0.7, 1.0, 1.3)
COMPARED = 400
"""Gaussians by which samples are compared with the tracks: those that are seen best."""
SEEN = 0.2
"""Mean weight of the tracks of a Gaussian from which it counts as seen."""


class HiddenLike:
    """A ``Regularizer``: what is hidden moves as in the sample, of those that the prior draws, that is nearest to what
    is seen. [ours]

    Args:
        weight: of the term.
        targets: [T, N, 3] displacements in that sample.
        hidden: [N] how far a Gaussian is hidden from all cameras, in [0, 1].
        size: of the asset.
    """

    name = "hidden"

    def __init__(self, weight: float, targets: Tensor, hidden: Tensor, size: float) -> None:
        self.weight, self.targets, self.hidden, self.size = weight, targets, hidden, size

    def __call__(self, frames: Frames, generator: torch.Generator) -> Tensor:
        """See ``Regularizer``."""
        away = (frames.means - frames.asset.means - self.targets).square().sum(dim=-1) / self.size**2
        costs = ((away + SOFT**2).sqrt() - SOFT).mean(dim=0)
        return (self.hidden * costs).sum() / self.hidden.sum().clamp(min=1.0)


@torch.no_grad()
def hidden_like(
    prior: PointsPrior,
    asset: Gaussians,
    tracks: Sequence[Tracks],
    times: Tensor,
    rasterizer: Rasterizer,
    *,
    prompt: str,
    facing_deg: float,
    seed: int,
    weight: float,
) -> tuple[HiddenLike, float]:
    """The term for ``prompt``, and how far the sample it was made of is from the tracks, over how far the asset at rest
    is: below 1 it explains part of what is seen."""
    [view] = look_at(
        prior, asset, ViewsConfig(num_cameras=1), rasterizer, prompt=prompt, facing_deg=facing_deg, seed=seed
    )
    assert isinstance(view, PointView)
    [text] = prior.encode_text([prompt]).split()
    condition = prior.condition(text, asset, view)
    samples, _ = prior.varied(condition, step_generator(seed, 0, stream=8), count=NUM_SAMPLES, steps=SAMPLE_STEPS)
    low, high = asset.bounds()
    size = float((high - low).norm())
    seen = torch.stack([one.weights.mean(dim=0) for one in tracks]).amax(dim=0)
    best_seen = seen.argsort(descending=True)[:COMPARED]
    compared = [one.of(best_seen) for one in tracks]
    rest = asset.means[best_seen]
    still = _distance(rest.expand(len(times), -1, -1), compared, size)
    best, nearest = torch.zeros(0), float("inf")
    grid = torch.arange(MOMENTS).to(times) / (MOMENTS if view.cyclic else MOMENTS - 1)
    for sample in samples:
        moves = sampled_motion(prior, sample[None], asset, view).displacements(asset.means, grid)
        for moments in _moments(times, cyclic=view.cyclic):
            for amplitude in AMPLITUDES:
                away = _distance(rest + amplitude * moves[moments][:, best_seen], compared, size)
                if away < nearest:
                    best, nearest = amplitude * moves[moments], away
    hidden = (1.0 - seen / SEEN).clamp(min=0.0)
    return HiddenLike(weight, best, hidden, size), nearest / max(still, 1e-9)


def _moments(times: Tensor, *, cyclic: bool) -> list[Tensor]:
    """Numbers [T] of the moments of the sample at which the video's frames may have been taken."""
    if not cyclic:
        return [(times * (MOMENTS - 1)).round().long()]
    turns = [rounds * times + shift / SHIFTS for rounds in ROUNDS for shift in range(SHIFTS)]
    return [(turn * MOMENTS).round().long() % MOMENTS for turn in turns]


def _distance(means: Tensor, tracks: Sequence[Tracks], size: float) -> float:
    """How far ``means`` [T, M, 3] are from the tracks of the same M Gaussians, over the asset's size."""
    losses = [track_loss(one.pixels(means), one.targets, one.weights, one.pixel_size / size) for one in tracks]
    return float(torch.stack(losses).mean())
