"""The picture in ``docs/log/ablations.md``: ``python -m tests.bench.draw_msd_and_sds``

The exact prior in latents of 8 pixels, asked at timesteps from 0.6 up; of each body the true clip nearest to what MSD
found, MSD, and plain SDS, eight frames.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from stages.cameras import Camera
from stages.gaussians import Frames, Gaussians
from stages.raster import choose, render
from tests.bench.bench_ablation import STEPS, base_config, world_of
from tests.bench.exact import NUM_FRAMES, distilled, moved, sds, viewpoints_of

BODIES = ("crab", "dolphin", "wolf")
LATENT_PX, TIMESTEP_MIN = 8, 0.6
SIZE_PX = 96


def main() -> None:
    """Distil, and put the strips below each other."""
    strips = []
    for body in BODIES:
        world = world_of(body, 0, LATENT_PX)
        config = base_config(STEPS, TIMESTEP_MIN)
        found = [moved(world, distilled(world, settings)[0]) for settings in (config, sds(config))]
        nearest = (world.truth - found[0]).norm(dim=-1).mean(dim=(1, 2)).argmin()
        replace(world.prior.clip, height=SIZE_PX, width=SIZE_PX)
        camera = viewpoints_of(world.asset, config)[0].camera
        strips += [strip(world.asset, means, camera) for means in (world.truth[nearest], *found)]
    picture = (255.0 * torch.cat(strips).clamp(0.0, 1.0)).byte().numpy()
    Image.fromarray(picture).save(Path(__file__).parents[2] / "docs" / "pictures" / "msd_and_sds.webp", optimize=True)


@torch.no_grad()
def strip(asset: Gaussians, means: Tensor, camera: Camera) -> Tensor:
    """Every other frame of ``means`` [T, N, 3] beside the one before, [H, T / 2 W, 3]."""
    frames = render(Frames(asset, means), [camera] * NUM_FRAMES, choose("cpu"), background=torch.ones(3)).rgb
    return torch.cat(list(frames[::2]), dim=1)


if __name__ == "__main__":
    main()
