"""FreeInit: noise whose slow parts come from a sample that the model has made before (Wu et al. 2023).

Noise holds no trace of a clip in training, at the last timestep of most schedules a little is left of its slow parts,
and a model looks for it. So one samples, noises the sample to the last timestep, keeps of that what is slow in space
and time, takes the rest from new noise, and samples again.
"""

from __future__ import annotations

import torch
from torch import Tensor

ORDER, STOP = 4, 0.25
"""Of the Butterworth filter; ``STOP`` is a share of the highest frequency, in space and in time (diffusers' defaults,
which Animate3D takes)."""


def butterworth(shape: tuple[int, int, int], order: int = ORDER, stop: float = STOP) -> Tensor:
    """How much of each frequency is kept, [T, h, w] in (0, 1], laid out as ``torch.fft.fftshift`` lays them out:
    ``1 / (1 + (d / stop)^(2 order))``, d the distance from the middle, where all is kept (Wu et al. 2023, appendix)."""
    axes = torch.meshgrid(*(2.0 * torch.arange(n) / n - 1.0 for n in shape), indexing="ij")
    squared = sum(axis.square() for axis in axes)
    return 1.0 / (1.0 + (torch.as_tensor(squared) / stop**2) ** order)


def mixed(slow: Tensor, fast: Tensor) -> Tensor:
    """[..., T, h, w]: the low frequencies of ``slow`` with the high ones of ``fast``, as ``butterworth`` parts them."""
    axes = (-3, -2, -1)
    kept = butterworth((slow.shape[-3], slow.shape[-2], slow.shape[-1])).to(slow)
    kept = torch.fft.ifftshift(kept, dim=axes)
    parts = torch.fft.fftn(slow, dim=axes) * kept + torch.fft.fftn(fast, dim=axes) * (1.0 - kept)
    return torch.fft.ifftn(parts, dim=axes).real
