"""What is optimised when Gaussians are fitted: tensors by name, their optimiser, and moving those of no use."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from stages.fitting.relocation import DEAD_OPACITY, relocations, shared_out
from stages.gaussians import Gaussians


def stored(gaussians: Gaussians) -> dict[str, Tensor]:
    """The tensors that are optimised, by name; colour apart from what depends on the direction of view."""
    return {
        "means": gaussians.means,
        "quats": gaussians.quats,
        "log_scales": gaussians.log_scales,
        "logit_opacities": gaussians.logit_opacities,
        "sh0": gaussians.sh[:, :1],
        "sh_rest": gaussians.sh[:, 1:],
    }


def assemble(tensors: Mapping[str, Tensor]) -> Gaussians:
    """The Gaussians of ``stored`` tensors."""
    return Gaussians(
        means=tensors["means"],
        quats=nn.functional.normalize(tensors["quats"], dim=-1),
        log_scales=tensors["log_scales"],
        logit_opacities=tensors["logit_opacities"],
        sh=torch.cat([tensors["sh0"], tensors["sh_rest"]], dim=1),
    )


def make_optimiser(parameters: Mapping[str, nn.Parameter], rates: Mapping[str, float]) -> torch.optim.Adam:
    """Adam with a rate for each tensor, in the order of ``rates``."""
    return torch.optim.Adam([{"params": [parameters[name]], "lr": rate} for name, rate in rates.items()], eps=1e-15)


@torch.no_grad()
def relocate(
    parameters: Mapping[str, nn.Parameter], optimiser: torch.optim.Optimizer, generator: torch.Generator
) -> None:
    """Move transparent Gaussians onto others, which share their opacity with them; Adam forgets both."""
    opacities = torch.sigmoid(parameters["logit_opacities"])
    dead, chosen = (index.to(opacities.device) for index in relocations(opacities, generator))
    if len(dead) == 0:
        return
    copies = torch.bincount(chosen, minlength=len(opacities))[chosen] + 1
    shared, scales = shared_out(opacities[chosen], parameters["log_scales"][chosen].exp(), copies)
    parameters["logit_opacities"][chosen] = shared.clamp(DEAD_OPACITY, 1.0 - 1e-6).logit()
    parameters["log_scales"][chosen] = scales.log()
    for parameter in parameters.values():
        parameter[dead] = parameter[chosen]
        for moment in ("exp_avg", "exp_avg_sq"):
            optimiser.state[parameter][moment][dead] = 0.0
            optimiser.state[parameter][moment][chosen] = 0.0
