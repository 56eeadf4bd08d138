"""What stands behind an asset: a colour, and one against which it can be seen."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.events import Note, Report
from stages.gaussians import Gaussians
from stages.gaussians.sh import sh0_to_rgb

AUTO = "auto"
WHITE, GREY = (1.0, 1.0, 1.0), (0.5, 0.5, 0.5)

NEAR, MOST = 0.12, 0.6
"""An asset of which so large a part (by area and opacity) differs by less than that from white, in every channel, can
hardly be seen against it. [ours]"""


def visible_background(asset: Gaussians, report: Report) -> Tensor:
    """White, [3], or grey, which is said, for an asset that is nearly white itself."""
    if share_near(asset, WHITE) <= MOST:
        return torch.tensor(WHITE)
    report(Note("Most of it is nearly white: it is shown on grey; --background says otherwise."))
    return torch.tensor(GREY)


def share_near(asset: Gaussians, color: tuple[float, float, float]) -> float:
    """How much of an asset has nearly this colour, weighted by opacity and by area."""
    rgb = sh0_to_rgb(asset.sh[:, 0]).clamp(0.0, 1.0)
    near = ((rgb - torch.tensor(color).to(rgb)).abs() < NEAR).all(dim=1)
    area = asset.opacities * asset.scales.sort(dim=1).values[:, 1:].prod(dim=1)
    return float((area * near).sum() / area.sum().clamp(min=1e-30))
