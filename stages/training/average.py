"""An exponential moving average of what is trained: the weights that are sampled and saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Of ``parameters``, which it knows by name; its tensors are called ``average/NAME`` in checkpoints.

    Args:
        decay: how much of it stays in a step; less in the first ones, so that it soon forgets where it began.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters, self._decay = dict(parameters), decay
        self._values = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}

    @torch.no_grad()
    def follow(self, done: int) -> None:
        """Come nearer to the parameters, after ``done`` steps."""
        decay = min(self._decay, done / (9.0 + done))
        for name, parameter in self._parameters.items():
            self._values[name].lerp_(parameter, 1.0 - decay)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of it."""
        return {f"average/{name}": value for name, value in self._values.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``tensors`` gave."""
        for name, value in self._values.items():
            self._values[name] = tensors[f"average/{name}"].to(value.device)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the parameters hold the averaged weights."""
        kept = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self._set(self._values)
        try:
            yield
        finally:
            self._set(kept)

    @torch.no_grad()
    def _set(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])
