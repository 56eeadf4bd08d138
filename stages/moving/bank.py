"""The bank of ``exact-views``: the clips of a rigged file, as the asset of a run goes through them."""

from __future__ import annotations

from pathlib import Path

import torch

from stages.errors import BadInput
from stages.gaussians import Gaussians
from stages.gaussians.normalised import Placement
from stages.metrics.trajectory import is_loop
from stages.moving.truth import true_motion
from stages.priors.exact_views import ExactViewsPrior
from stages.priors.parameterization import Parameterization
from stages.skeletons.rigged import read_rigged

NUM_FRAMES, NUM_PHASES = 16, 16
BETAS = (0.00085, 0.012)
"""Ends of the scaled-linear schedule of Stable Diffusion."""


def exact_views(
    bank: str | None, asset: Gaussians, placement: Placement, *, size_px: int = 64, num_views: int = 4
) -> ExactViewsPrior:
    """The exact prior of V views for ``asset``, normalised, whose motions are the clips of the file ``bank``: loops at
    sixteen phases, others from their beginning.

    Raises:
        BadInput: no bank is given, it has no clips, or it is not the file of this asset.
    """
    if bank is None:
        raise BadInput("--prior exact-views needs a bank of clips.", "Add: --bank FILE.glb, the file of the asset.")
    file = read_rigged(Path(bank))
    if not file.clips:
        raise BadInput(f"{bank} has no clips.", "Give a rigged file with animations.")
    rest = placement.file_points(asset.means).cpu()
    steps = NUM_FRAMES * NUM_PHASES
    phases = torch.arange(NUM_PHASES)[:, None] * NUM_FRAMES
    moves = {}
    for clip in file.clips:
        means = placement.points(true_motion(f"{bank}#{clip}", rest, steps + 1).means).to(asset.means)
        name = clip.rpartition("|")[2]
        if is_loop(means[::NUM_PHASES]):
            spread = torch.linspace(0.0, steps, NUM_FRAMES).round().long()
            moves[name] = means[(phases + spread) % steps]
        else:
            moves[name] = means[torch.linspace(0.0, steps, NUM_FRAMES).round().long()][None]
    betas = torch.linspace(BETAS[0] ** 0.5, BETAS[1] ** 0.5, 1000, dtype=torch.float64) ** 2
    schedule = Parameterization.from_betas(betas, "epsilon")
    return ExactViewsPrior(asset, moves, schedule, size_px=size_px, num_views=num_views)
