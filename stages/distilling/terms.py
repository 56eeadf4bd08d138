"""What all terms of a distillation have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from stages.gaussians import Gaussians
from stages.priors.prior import Observation, Prior, Text, Viewpoint, Wanted


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """The encoded sentences of a distillation, one prompt each."""

    motion: Text
    negative: Text
    static: Text


class View:
    """One viewpoint, and what the prior knows of it before any motion."""

    def __init__(self, index: int, viewpoint: Viewpoint, asset: Gaussians, prior: Prior, prompts: Prompts) -> None:
        self.index, self.viewpoint, self.asset, self.prior = index, viewpoint, asset, prior
        self.condition = prior.condition(prompts.motion, asset, viewpoint)
        self.negative = replace(self.condition, text=prompts.negative)
        self.static = replace(self.condition, text=prompts.static)

    @cached_property
    def still(self) -> Tensor:
        """Latents [1, C, t, h, w] of the clip in which nothing moves."""
        with torch.no_grad():
            return self.prior.still_latents(self.asset, self.viewpoint)


class ScoreTerm(Protocol):
    """One objective as a term of the loss. A new one is a file of its own and a line in
    ``stages.distilling.distillation.terms``."""

    name: str
    weight: float

    def wanted(self, step: int) -> Sequence[Wanted]:
        """What it has to be shown in a step; nothing: it takes no part in that step."""
        ...

    def loss(self, observation: Observation, view: View, step: int, generator: torch.Generator) -> Tensor:
        """Its value, a scalar; ``generator`` is the step's."""
        ...
