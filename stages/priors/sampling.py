"""How a prior is sampled from unless it is told otherwise: how many steps, at which noise, with how much guidance."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from stages.errors import BadInput
from stages.priors.parameterization import Parameterization


@dataclass(frozen=True, kw_only=True)
class SamplingDefaults:
    """What a model's makers sample it with.

    ``noise_levels`` belong to models that are distilled to a few steps: where each step starts, 1000 for pure noise,
    as their makers count. Without them ``steps`` are spread evenly over the schedule, after it is shifted to
    ``shift`` (Esser et al. 2024, Eq. 23), which only flow models know; None: as the schedule is.

    ``renoise``: each step estimates the clean clip and adds new noise to it for the next step, as consistency models
    and distribution matching (DMD) do. Else a step keeps its own noise (DDIM; for a flow model, Euler's step).
    """

    steps: int = 50
    guidance: float = 1.0
    noise_levels: tuple[float, ...] | None = None  # each in (0, 1000], falling; as many as there are steps
    shift: float | None = None
    renoise: bool = False

    def __post_init__(self) -> None:
        levels = self.noise_levels
        if self.steps < 1:
            raise BadInput(f"A clip is sampled in one step or more, not {self.steps}.")
        if not self.guidance >= 1.0:
            raise BadInput(f"Guidance is 1 or more, not {self.guidance}.")
        if self.shift is not None and not self.shift > 0.0:
            raise BadInput(f"A shift is more than 0, not {self.shift}.")
        if levels is not None and (
            len(levels) != self.steps
            or not all(0.0 < level <= 1000.0 for level in levels)
            or any(later >= earlier for earlier, later in pairwise(levels))
        ):
            raise BadInput(
                f"Noise levels fall from at most 1000 to above 0, one for each of {self.steps} steps: {levels}."
            )

    @staticmethod
    def from_config(said: Any, where: Path) -> SamplingDefaults:
        """Those that a file states: an object with some of the names above.

        Raises:
            BadInput: it is no object, has other names, or values that cannot be.
        """
        names = [field.name for field in fields(SamplingDefaults)]
        if not isinstance(said, dict) or not set(said) <= set(names):
            raise BadInput(f"{where}: 'sampling' is an object of {', '.join(names)}; not {said}.")
        levels = said.get("noise_levels")
        try:
            given = {} if levels is None else {"noise_levels": tuple(map(float, levels)), "steps": len(levels)}
            return SamplingDefaults(**{**given, **{name: said[name] for name in said if name != "noise_levels"}})
        except TypeError:
            raise BadInput(f"{where}: 'sampling' has values that are no numbers: {said}.") from None
        except BadInput as error:
            raise BadInput(f"{where}: 'sampling': {error}") from None

    @staticmethod
    def few(*noise_levels: float, renoise: bool) -> SamplingDefaults:
        """Those of a model distilled to a few steps; it wants no guidance."""
        return SamplingDefaults(steps=len(noise_levels), noise_levels=noise_levels, renoise=renoise)


def sampling_ladder(parameterization: Parameterization, how: SamplingDefaults) -> list[int]:
    """The integer timesteps at which the steps start, noisy to clean, at most ``how.steps`` of them.

    Noise levels, and a shift that is not the schedule's own, are met by the nearest timestep of the table.

    Raises:
        BadInput: noise levels or a shift, of a schedule that is not a flow.
    """
    total = parameterization.num_timesteps
    if how.noise_levels is None and how.shift is None:
        steps = min(how.steps, total)
        return [round((index + 1) * total / steps) - 1 for index in reversed(range(steps))]
    if parameterization.kind != "flow":
        raise BadInput("Only flow models have noise levels or a shift of their own.", "Leave them out.")
    if how.noise_levels is not None:
        wanted = torch.tensor(how.noise_levels, dtype=torch.float64) / 1000.0
    else:
        assert how.shift is not None
        even = torch.arange(how.steps, 0, -1, dtype=torch.float64) / how.steps
        wanted = how.shift * even / (1.0 + (how.shift - 1.0) * even)
    nearest = (parameterization.sigmas[None] - wanted[:, None]).abs().argmin(dim=1)
    return list(dict.fromkeys(nearest.tolist()))
