"""Adam without PyTorch's ``Optimizer`` around it, whose first use imports the compiler: 1.7 s of a ``distill`` of ten.

The step itself is PyTorch's (``torch.optim.adam.adam``), so the numbers are those of ``torch.optim.Adam``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """Adam (Kingma and Ba 2015).

    Args:
        groups: each the tensors of "params", and their learning rate "lr": 0.001 unless given.
        betas: the shares of the averages of gradients and of their squares that are kept.

    ``param_groups`` are the groups; ``state`` of each tensor its "step", "exp_avg" and "exp_avg_sq", once it was
    stepped.
    """

    def __init__(self, groups: Iterable[Mapping[str, Any]], betas: tuple[float, float] = (0.9, 0.999)) -> None:
        self.param_groups = [{"lr": 1e-3} | dict(group) | {"params": list(group["params"])} for group in groups]
        self.state: defaultdict[Tensor, dict[str, Tensor]] = defaultdict(dict)
        self.betas = betas

    def zero_grad(self) -> None:
        """No gradients are left."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One step of all tensors that have a gradient."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            states = [self._state(parameter) for parameter in parameters]
            adam(
                parameters,
                [parameter.grad for parameter in parameters],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                [state["step"] for state in states],
                amsgrad=False,
                beta1=self.betas[0],
                beta2=self.betas[1],
                lr=group["lr"],
                weight_decay=0.0,
                eps=1e-8,
                maximize=False,
            )

    def _state(self, parameter: Tensor) -> dict[str, Tensor]:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)  # counted on the CPU
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        return state
