"""What a sample looks like: of several views, side by side."""

from __future__ import annotations

from pathlib import Path

import torch

from stages.distilling.sampled import film
from stages.distilling.viewpoints import ViewsConfig, look_at
from stages.priors.load import load_prior
from stages.raster import choose
from tests.gaussians.test_ply import splat
from tests.priors.tiny_mvvdm import save_tiny


def test_views_are_side_by_side(tmp_path: Path) -> None:
    prior = load_prior(str(save_tiny(tmp_path)), num_frames=4, size_px=8)
    asset = splat(1, count=40)
    seen = look_at(prior, asset, ViewsConfig(num_cameras=1), choose("cpu"), prompt="", facing_deg=0.0, seed=0)[0]
    latents = prior.still_latents(asset, seen)
    both = torch.cat([latents, -latents], dim=1)  # [1, V, ...]
    shown = film(prior, both, asset, seen)
    assert shown.shape == (4, 8, 2 * 8, 3)
    with torch.no_grad():
        assert torch.equal(shown[:, :, 8:], prior.decode_views(both)[1])  # type: ignore[attr-defined]
