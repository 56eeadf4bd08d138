"""What no camera sees, told by the body's other side: legs of a pair do the same, together or by turns."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from stages.distilling.hidden import SEEN
from stages.distilling.tracks import Tracks
from stages.gaussians import Frames, Gaussians
from stages.objectives.follow import SOFT

PAIRED = 0.03
"""How far a Gaussian's mirror image may be from another Gaussian, as a share of the asset's size."""
ASIDE = 0.03
"""How far from the plane between left and right a pair must be to tell the sides apart, as a share of the size."""
COMPARED = 300
"""Pairs that a camera sees both of, by which the delay is found: those that are seen best."""
FEWEST = 30
"""Of them, below which nothing is known of the delay."""


class Mirrored:
    """A ``Regularizer``: what is hidden moves as its mirror image does, after a delay. [ours]

    In a jump both sides move at once, in a walk one half a cycle after the other. A body seldom stands quite evenly, so
    that movements are compared without their means over time. The delay, a number of frames, is the
    one at which the pairs that a camera sees both of move most alike in the present motion; how far that explains their
    movement is how much the term counts.

    Args:
        weight: of the term.
        asset: at rest.
        facing_deg: where the body faces about +y, 0: +z, 90: +x.
        tracks: what the cameras see of it.
    """

    name = "mirrored"

    def __init__(self, weight: float, asset: Gaussians, facing_deg: float, tracks: Sequence[Tracks]) -> None:
        self.weight = weight
        low, high = asset.bounds()
        self.size = float((high - low).norm())
        angle = math.radians(facing_deg)
        axis = torch.tensor([math.cos(angle), 0.0, -math.sin(angle)]).to(asset.means)
        self.reflection = torch.eye(3).to(axis) - 2.0 * torch.outer(axis, axis)
        first, second, aside = self._pairs(asset.means, 0.5 * (low + high), axis)
        seen = (torch.stack([one.weights.mean(dim=0) for one in tracks]).amax(dim=0) / SEEN).clamp(max=1.0)
        self.first, self.second = first, second
        self.hidden = (1.0 - seen[first]) * seen[second]
        both = seen[first] * seen[second] * aside
        best = both.argsort(descending=True)[:COMPARED]
        self.compared = best[both[best] > 0.5]

    @property
    def tells(self) -> bool:
        """Whether there is anything hidden whose other side is seen, and enough seen of both sides."""
        return bool(self.hidden.sum() > 0) and len(self.compared) >= FEWEST

    def _pairs(self, means: Tensor, centre: Tensor, axis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Numbers [P] of Gaussians and of their mirror images, and [P] which of them are aside of the middle."""
        mirrored = centre + (means - centre) @ self.reflection
        away, nearest = cKDTree(means.cpu().numpy()).query(mirrored.cpu().numpy())
        first = torch.from_numpy(away < PAIRED * self.size).nonzero()[:, 0].to(means.device)
        second = torch.from_numpy(nearest).to(means.device)[first]
        return first, second, ((means[first] - centre) @ axis).abs() > ASIDE * self.size

    def __call__(self, frames: Frames, generator: torch.Generator) -> Tensor:
        """See ``Regularizer``."""
        moves = centred(frames.means)
        with torch.no_grad():
            delay, explained = self.delay(moves)
            targets, known = delayed(moves[:, self.second] @ self.reflection, delay)
        away = (moves[:, self.first] - targets).square().sum(dim=-1) / self.size**2
        costs = (((away + SOFT**2).sqrt() - SOFT) * known[:, None]).sum(dim=0) / known.sum()
        return explained * (self.hidden * costs).sum() / self.hidden.sum().clamp(min=1.0)

    def delay(self, moves: Tensor) -> tuple[int, float]:
        """Frames after which one side does what the other did, at most half of all, and the share of the pairs' motion
        that is explained by it, in [0, 1]; ``moves`` are [T, N, 3] as ``centred`` gives them."""
        ours = moves[:, self.first[self.compared]]
        theirs = moves[:, self.second[self.compared]] @ self.reflection
        total = float(ours.square().sum(dim=-1).mean())
        left = []
        for frames in range(len(moves) // 2 + 1):
            target, known = delayed(theirs, frames)
            left.append(float((ours - target).square().sum(dim=-1)[known].mean()))
        best = min(range(len(left)), key=left.__getitem__)
        return best, max(0.0, 1.0 - left[best] / max(total, 1e-12))


def centred(means: Tensor) -> Tensor:
    """How far points [T, N, 3] are from where they are on average."""
    return means - means.mean(dim=0)


def delayed(moves: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """What ``moves`` [T, N, 3] are so many ``frames`` later, and [T] where that is known. Past the end the same number
    of frames earlier is taken: where a side is half a cycle behind, it is half a cycle ahead, too."""
    times = torch.arange(len(moves), device=moves.device)
    later, earlier = times + frames, times - frames
    source = torch.where(later < len(moves), later, earlier)
    return moves[source.clamp(min=0)], source >= 0
