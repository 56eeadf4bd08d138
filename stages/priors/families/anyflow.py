"""AnyFlow: Wan 2.1 distilled to a flow map, for one step, four or as many as one likes.

The model is told where a step ends as well as where it starts, and predicts the mean velocity on the way there (2026,
arXiv 2605.13724). Where both are the same noise level that is the velocity at it, as every other flow model's, so that
scores, inversion and repairs work as they do elsewhere; ``sample_video`` tells it where each step ends. Guidance is in
its weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.priors.families.wan import WanPrior
from stages.priors.prior import Condition, Text
from stages.priors.sampling import SamplingDefaults


class AnyFlowPrior(WanPrior):
    """``AnyFlowTransformer3DModel`` with ``AutoencoderKLWan`` and UMT5's encoder. A ``FlowMapPrior``."""

    def usual_sampling(self) -> SamplingDefaults:
        """The four steps of its makers' example, at the schedule's own shift."""
        return SamplingDefaults(steps=4)

    def run(self, latents: Tensor, timestep: int, text: Text, image_latents: Tensor | None) -> Tensor:
        """The velocity at ``timestep``; no picture is looked at."""
        return self._mean_velocity(latents, timestep, timestep, text)

    def predict_towards(self, latents: Tensor, timestep: int, following: int, condition: Condition) -> Tensor:
        """See ``FlowMapPrior.predict_towards``."""
        said = self._mean_velocity(latents.to(self.dtype), timestep, following, condition.text)
        return said.to(torch.float32, copy=True)

    def _mean_velocity(self, latents: Tensor, timestep: int, following: int, text: Text) -> Tensor:
        """Latents go in as [B, t, C, h, w], with both noise levels times 1000 for every latent frame."""
        assert text.states is not None
        ends = self.noise_levels[following] if following >= 0 else 0.0
        start, end = (latents.new_full(latents.shape[:1] + latents.shape[2:3], level, dtype=torch.float32)
                      for level in (self.noise_levels[timestep], ends))  # fmt: skip
        out = self.denoiser(
            hidden_states=latents.transpose(1, 2),
            timestep=start,
            r_timestep=end,
            encoder_hidden_states=text.states,
            return_dict=False,
        )[0]
        return out.transpose(1, 2)
