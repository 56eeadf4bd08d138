"""Parameters and Adam's memory as plain tensors, and back: what a checkpoint of an optimisation holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from stages.adam import Adam

NamedParameters = Iterable[tuple[str, nn.Parameter]]


def optimisation_tensors(parameters: NamedParameters, optimiser: Adam | torch.optim.Optimizer) -> dict[str, Tensor]:
    """``parameter/NAME`` and ``adam/NAME/{step,exp_avg,exp_avg_sq}`` of every parameter."""
    tensors = {}
    for name, parameter in parameters:
        tensors[f"parameter/{name}"] = parameter.detach()
        for key, value in optimiser.state[parameter].items():
            tensors[f"adam/{name}/{key}"] = value
    return tensors


def restore_optimisation(
    tensors: Mapping[str, Tensor], parameters: NamedParameters, optimiser: Adam | torch.optim.Optimizer
) -> None:
    """Put the tensors of ``optimisation_tensors`` back in place."""
    for name, parameter in parameters:
        parameter.data.copy_(tensors[f"parameter/{name}"])
        prefix = f"adam/{name}/"
        optimiser.state[parameter] = {
            # Adam counts its steps on the CPU; its moments live beside the parameter
            key[len(prefix) :]: value.clone() if key.endswith("/step") else value.to(parameter.device, copy=True)
            for key, value in tensors.items()
            if key.startswith(prefix)
        }
