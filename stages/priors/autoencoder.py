"""The embedded prior's autoencoder: principal components of small image patches.

A linear map per 4x4 patch needs no training beyond one eigendecomposition, has the same gradient everywhere (what score
distillation sends through it is exactly what the denoiser said), and at the sizes of the embedded prior loses less than
a small convolutional network. Channels are whitened by half: dividing by the *root* of a component's deviation keeps
the large, low-frequency components in charge of the loss; full whitening hands it to the noise-like ones.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn


class PatchAutoencoder(ModelMixin, ConfigMixin):
    """Linear encoder and decoder between images [B, 3, H, W] in [0, 1] and latents [B, C, H / p, W / p]."""

    @register_to_config
    def __init__(self, patch_size: int = 4, latent_channels: int = 12) -> None:
        super().__init__()
        dim = 3 * patch_size**2
        self.mean = nn.Parameter(torch.full((dim,), 0.5), requires_grad=False)
        self.analysis = nn.Parameter(torch.eye(latent_channels, dim), requires_grad=False)
        self.synthesis = nn.Parameter(torch.eye(dim, latent_channels), requires_grad=False)

    @torch.no_grad()
    def fit(self, images: Tensor) -> float:
        """Set the components from ``images`` [B, 3, H, W]; returns the share of the variance that they keep."""
        patches = self._patches(images.double()).permute(0, 2, 3, 1).flatten(0, 2)
        mean = patches.mean(dim=0)
        covariance = torch.cov(patches.T)
        variances, vectors = torch.linalg.eigh(covariance)
        channels = self.config.latent_channels
        variances, vectors = variances.flip(0), vectors.flip(1)
        basis, deviation = vectors[:, :channels], variances[:channels].clamp(min=1e-12).sqrt()
        half_white = deviation.rsqrt()
        unit = (deviation * half_white).square().mean().rsqrt()  # latents then have mean variance 1
        self.mean.copy_(mean)
        self.analysis.copy_((basis * half_white * unit).T)
        self.synthesis.copy_(basis / (half_white * unit))
        return float(variances[:channels].sum() / variances.sum())

    def encode(self, images: Tensor) -> Tensor:
        """Latents [B, C, H / p, W / p] of ``images`` [B, 3, H, W]; H and W are multiples of the patch size."""
        patches = self._patches(images) - self.mean.to(images.dtype).view(-1, 1, 1)
        return torch.einsum("cd,bdhw->bchw", self.analysis.to(images.dtype), patches)

    def encode_change(self, difference: Tensor) -> Tensor:
        """Latents [B, C, H / p, W / p] of a difference of two images [B, 3, H, W]: the difference of theirs."""
        return torch.einsum("cd,bdhw->bchw", self.analysis.to(difference.dtype), self._patches(difference))

    def decode(self, latents: Tensor) -> Tensor:
        """Images [B, 3, H, W] of ``latents``, not clamped."""
        patches = torch.einsum("dc,bchw->bdhw", self.synthesis.to(latents.dtype), latents)
        return nn.functional.pixel_shuffle(patches + self.mean.to(latents.dtype).view(-1, 1, 1), self.config.patch_size)

    def _patches(self, images: Tensor) -> Tensor:
        """Non-overlapping patches as channels, [B, 3 p p, H / p, W / p]."""
        return nn.functional.pixel_unshuffle(images, self.config.patch_size)
