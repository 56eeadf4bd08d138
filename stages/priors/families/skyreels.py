"""SkyReels-V2: Wan 2.1's transformer, autoencoder and text encoder, trained further; a class of its own in diffusers.

Its image-to-video members see the picture as Wan 2.1's do: a clip beside the noisy one, the picture and then grey, and
what CLIP reads. The members of diffusion forcing, which make endless videos with a noise level for every frame, are
another kind of model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.errors import NotAvailable
from stages.priors.families.wan import WanPrior
from stages.priors.sampling import SamplingDefaults


class SkyReelsPrior(WanPrior):
    """``SkyReelsV2Transformer3DModel`` with ``AutoencoderKLWan`` and UMT5's encoder."""

    def __init__(self, name: str, folder: Path, *args: Any, **options: Any) -> None:
        super().__init__(name, folder, *args, **options)
        if self.denoiser_config.get("inject_sample_info") or self.denoiser_config.get("num_frame_per_block", 1) > 1:
            raise NotAvailable(
                f"{name} is a member for diffusion forcing, which has a noise level for every frame.",
                "Use one of I2V or T2V, for example Skywork/SkyReels-V2-I2V-1.3B-540P-Diffusers.",
            )

    def usual_sampling(self) -> SamplingDefaults:
        """As its makers (diffusers' example): the picture holds much already, and asks for less shift and guidance."""
        guidance, shift = (5.0, 5.0) if self.sees_picture else (6.0, 8.0)
        return SamplingDefaults(steps=50, guidance=guidance, shift=shift)
