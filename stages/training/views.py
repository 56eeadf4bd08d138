"""What a step of ``train-prior --kind views`` draws and loses (Animate3D, Eq. 3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stages.priors.multiview import MVVDMPrior
from stages.priors.multiview.unet import TRAINED
from stages.training.view_bank import Seen, ViewBank

ADAPTERS = (*TRAINED, "_ip.", "encoder_hid_proj.")
"""In the names of what is trained: the spatio-temporal modules, attention to frame 0, and IP-Adapter, which Animate3D
itself leaves as it was."""


@dataclass(frozen=True)
class Draw:
    """What chance decides about a step."""

    index: Tensor  # [B] clips of the bank
    timestep: Tensor  # [B]
    eps: Tensor  # [B, V, C, T, h, w]
    said: Tensor  # [B] 1 where the sentence is, and what the image encoder says


def draw_step(
    bank: ViewBank, prior: MVVDMPrior, batch_size: int, text_dropout: float, generator: torch.Generator
) -> tuple[Draw, Seen]:
    """A batch, and its clips."""
    index = torch.randint(0, len(bank.captions), (batch_size,), generator=generator)
    seen = bank.read(index)
    timestep = torch.randint(0, prior.parameterization.num_timesteps, (batch_size,), generator=generator)
    eps = torch.randn(seen.latents.shape, generator=generator)
    said = (torch.rand(batch_size, generator=generator) >= text_dropout).float()
    return Draw(index, timestep, eps, said), seen


def views_loss(prior: MVVDMPrior, seen: Seen, draw: Draw) -> Tensor:
    """Eq. 3: the mean squared error of the noise in frames 2 to f; frame 1 is given without noise.

    Where the sentence is dropped, so is what the image encoder says, as it is when the model is sampled. [ours: the
    released code drops the sentence alone]
    """
    x0, eps = seen.latents.to(prior.device), draw.eps.to(prior.device)
    captions = [text if said else "" for text, said in zip(seen.captions, draw.said.tolist(), strict=True)]
    states = prior.encode_text(captions).states
    assert states is not None
    noisy = prior.parameterization.add_noise(x0, eps, draw.timestep)
    predicted = prior.denoiser(
        torch.cat([x0[:, :, :, :1], noisy[:, :, :, 1:]], dim=3).to(prior.dtype),
        draw.timestep.to(prior.device),
        states.to(prior.dtype),
        (seen.appearance * draw.said[:, None, None]).to(prior.device, prior.dtype),
        seen.cameras.flatten(2).to(prior.device, prior.dtype),
    )
    target = prior.parameterization.target(x0, eps, draw.timestep)
    return (predicted.float() - target)[:, :, :, 1:].square().mean()


def is_adapter(name: str) -> bool:
    """Whether a parameter is trained on from a model that is given; all others are frozen then."""
    return any(part in name for part in ADAPTERS)
