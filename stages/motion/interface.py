"""What a motion is to the rest of the program: it says where points go, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from stages.gaussians import Frames, Gaussians


class Regularizer(Protocol):
    """One term that keeps a motion plausible."""

    @property
    def name(self) -> str:
        """As it is called in metrics."""
        ...

    @property
    def weight(self) -> float:
        """By which it is multiplied in the loss."""
        ...

    def __call__(self, frames: Frames, generator: torch.Generator) -> Tensor:
        """Its value, a scalar, for the frames of one step; ``generator`` is for what it samples."""
        ...


class Motion(Protocol):
    """How an asset moves. A motion is asked in the units of the asset it was made for."""

    kind: str
    """Its name in ``stages.motion.kinds``, which stands in result files."""

    def at(self, asset: Gaussians, frame_times: Tensor) -> Frames:
        """The asset at ``frame_times`` [T] in [0, 1]; differentiable with respect to the parameters."""
        ...

    def displacements(self, points: Tensor, frame_times: Tensor) -> Tensor:
        """How far ``points`` [P, 3] at rest go by each of ``frame_times`` [T]: [T, P, 3], in the points' units."""
        ...

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Groups for an optimiser; what learns slower than the rest has a share of ``learning_rate``."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """All that is learnt, by name."""
        ...

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """What is kept with it and not learnt, by name."""
        ...

    def regularizers(self, asset: Gaussians, config: Any) -> Sequence[Regularizer]:
        """What keeps this kind of motion plausible, weighted as ``config``
        (``stages.motion.regularizers.RegularizerConfig``) says."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Everything of it, for a result file."""
        ...

    def metadata(self) -> dict[str, str]:
        """What is needed beside the tensors to make it again, its ``kind`` among it."""
        ...
