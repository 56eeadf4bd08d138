"""Runs with an asset and a motion, made without optimising anything."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from stages.gaussians import Frames, Gaussians
from stages.gaussians.normalised import normalised
from stages.moving.asset import MovingAsset, load_moving_asset
from stages.run_dir import RunDir
from tests.gaussians.test_ply import splat
from tests.motion.test_hexplane import moving_field

PROMPT = 'a "walking" </script> goat & {{PAYLOAD}}'
"""What a page has to survive."""


def small_splat(degree: int = 0, count: int = 60) -> Gaussians:
    """Gaussians about a unit across, small against their distances."""
    asset = splat(degree, count)
    return Gaussians(
        means=0.3 * asset.means,
        quats=asset.quats,
        log_scales=0.3 * asset.log_scales - 3.0,
        logit_opacities=asset.logit_opacities + 1.0,
        sh=0.3 * asset.sh,
    )


def moving_run(
    folder: Path, gaussians: Gaussians, source: str = "goat.ply", prompt: str = PROMPT, strength: float = 1.0
) -> RunDir:
    """A run in ``folder`` as ``distill`` leaves it; its motion times ``strength``."""
    run = RunDir(folder)
    run.put_asset(gaussians, source, force=True)
    field = moving_field(normalised(gaussians))
    field.decoder[-1].weight.data *= strength  # type: ignore[operator]
    motion = run.stage("motion")
    motion.write_result("motion.safetensors", field.tensors(), field.metadata() | {"prompt": prompt})
    motion.finish(1)
    return run


def moments(run: RunDir, times: Tensor) -> tuple[MovingAsset, Frames]:
    """The asset, and its frames in the file's units, whose positions are asked one by one."""
    asset = load_moving_asset(run, "auto", "cpu")
    means = torch.cat([asset.at(time[None]).means for time in times])
    return asset, asset.in_file(Frames(asset.gaussians, means))
