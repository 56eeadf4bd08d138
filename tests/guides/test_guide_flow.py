"""Pixel flow that is estimated from pictures is the true one, and where it is not, the confidence says so."""

from __future__ import annotations

import cv2
import pytest
import torch
from torch import Tensor

from stages.cameras import orbit_camera
from stages.gaussians import Frames
from stages.guides import Guide
from stages.guides.pixel_flow import from_first, pixel_flow, pixel_grid
from stages.raster import choose, render
from stages.raster.render import render_flow
from stages.zoo.clips import rigged_clip
from stages.zoo.rigs import find_rig

SIDE = 96
STEP = torch.tensor([2.5, -1.5])
"""How far (x, y) the disk goes from frame to frame."""


def disk(shift: Tensor) -> tuple[Tensor, Tensor]:
    """A textured disk on white, moved by ``shift`` [2] pixels: rgb [H, W, 3] and mask [H, W]."""
    place = pixel_grid(SIDE, SIDE) - shift
    inside = ((place - torch.tensor([35.0, 60.0])).norm(dim=-1) < 25.0).float()
    waves = torch.stack([(place @ torch.tensor(way)).sin() for way in ([0.5, 0.2], [0.3, 0.4], [0.1, -0.6])], dim=-1)
    return torch.lerp(torch.ones(3), 0.5 + 0.3 * waves, inside[..., None]), inside


def disk_guide(hidden_from: int = 99) -> Guide:
    """Five frames of the disk; from frame ``hidden_from`` on, a black bar is before its left part."""
    pictures, masks = map(torch.stack, zip(*(disk(t * STEP) for t in range(5)), strict=True))
    pictures[hidden_from:, :, :45] = 0.0
    camera = orbit_camera(azimuth_deg=0, elevation_deg=0, radius=4, fov_deg=30, width=SIDE, height=SIDE)
    return Guide(camera=camera, rgb=pictures, mask=masks, times=torch.linspace(0, 1, 5), background=torch.ones(3))


def test_a_known_shift() -> None:
    guide = disk_guide()
    forward, backward = pixel_flow(guide.rgb)
    assert forward.shape == backward.shape == (4, SIDE, SIDE, 2)
    within = disk(torch.zeros(2))[1] > 0
    assert float((forward[0][within] - STEP).norm(dim=-1).median()) < 0.1
    assert float((backward[0][guide.mask[1] > 0] + STEP).norm(dim=-1).median()) < 0.1
    flow, confidence = from_first(guide)
    sure = confidence[4] > 0.5
    assert not flow[0].any() and (confidence[0] == guide.mask[0]).all()
    assert float(sure[within].float().mean()) > 0.8 and not sure[~within].any()
    assert float((flow[4][sure] - 4 * STEP).norm(dim=-1).quantile(0.9)) < 0.5


def test_what_gets_hidden_is_not_sure() -> None:
    _, confidence = from_first(disk_guide(hidden_from=3))
    left = (pixel_grid(SIDE, SIDE)[..., 0] < 25) & (disk(torch.zeros(2))[1] > 0)  # hidden by the bar in frame 3
    assert float((confidence[2][left] > 0.5).float().mean()) > 0.7
    assert float((confidence[4][left] > 0.5).float().mean()) < 0.1


def test_a_rendered_jump_is_followed() -> None:
    clip = rigged_clip(find_rig("Deer.glb"), "jump", 10, 2000, torch.Generator().manual_seed(0))
    frames, size = Frames(clip.asset, clip.means), 96
    camera = orbit_camera(azimuth_deg=60, elevation_deg=10, radius=5, fov_deg=35, width=size, height=size)
    seen = render(frames, [camera] * 10, choose("cpu"), background=torch.ones(3))
    guide = Guide(
        camera=camera, rgb=seen.rgb, mask=seen.alpha[..., 0], times=torch.linspace(0, 1, 10), background=torch.ones(3)
    )
    painted, alpha = render_flow(frames.asset_at(0), camera, choose("cpu"), frames.means)
    truth = painted / alpha.clamp(min=1e-3)
    flow, confidence = from_first(guide)
    far = truth.norm(dim=-1).amax(dim=(1, 2)).argmax()
    sure, there = confidence[far] > 0.5, alpha[far, ..., 0] > 0.5
    assert float(sure[there].float().mean()) > 0.3
    assert float((flow[far] - truth[far])[sure & there].norm(dim=-1).mean()) < 0.25 * float(
        truth[far][sure & there].norm(dim=-1).mean()
    )


def test_the_number_of_threads_changes_nothing() -> None:
    pictures, before = disk_guide().rgb[:2], cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        once = pixel_flow(pictures)[0]
        cv2.setNumThreads(4)
        assert (pixel_flow(pictures)[0] == once).all() and cv2.getNumThreads() == 4
    finally:
        cv2.setNumThreads(before)


@pytest.mark.parametrize("side", [24, 300])
def test_other_sizes_and_a_single_frame(side: int) -> None:
    forward, backward = pixel_flow(torch.rand(1, side, side + 10, 3))
    assert forward.shape == backward.shape == (0, side, side + 10, 2)
    still = torch.rand(1, side, side + 10, 3, generator=torch.Generator().manual_seed(0)).expand(2, -1, -1, -1)
    assert float(pixel_flow(still)[0].abs().max()) < 0.05
