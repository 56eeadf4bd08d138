"""Choosing a backend, and rendering an asset with it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from stages.cameras import orbit_camera
from stages.errors import BadInput, NotAvailable
from stages.gaussians import Frames, Gaussians
from stages.geometry.rotations import quaternion_matrices, quaternion_multiply
from stages.raster import choose, cpu, render, torch_reference


def test_choose() -> None:
    assert choose("cpu") is cpu.rasterize
    assert choose("cpu", "reference") is torch_reference.rasterize
    with pytest.raises(BadInput, match="no rasterizer 'opengl'"):
        choose("cpu", "opengl")
    with pytest.raises(NotAvailable, match="CUDA"):
        choose("cpu", "gsplat")


def test_importing_the_block_imports_no_backend() -> None:
    code = "import sys, stages.raster; sys.exit(any(m in sys.modules for m in ('numba', 'gsplat')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _asset(degree: int) -> Gaussians:
    generator = torch.Generator().manual_seed(0)
    return Gaussians(
        means=0.4 * torch.randn(40, 3, generator=generator),
        quats=torch.nn.functional.normalize(torch.randn(40, 4, generator=generator), dim=-1),
        log_scales=0.3 * torch.randn(40, 3, generator=generator) - 2.0,
        logit_opacities=torch.randn(40, generator=generator) + 1.0,
        sh=0.3 * torch.randn(40, (degree + 1) ** 2, 3, generator=generator),
    )


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_turning_the_asset_is_turning_the_camera(degree: int) -> None:
    """A rigid turn of means and quats, colours included, seen from a camera turned along gives the same image."""
    asset = _asset(degree)
    camera = orbit_camera(azimuth_deg=20.0, elevation_deg=10.0, radius=4.0, fov_deg=35.0, width=24, height=24)
    turn = torch.tensor([0.9, 0.1, 0.4, -0.2])
    turn = turn / turn.norm()
    R = quaternion_matrices(turn)
    viewmat = camera.viewmat.clone()
    viewmat[:3, :3] = viewmat[:3, :3] @ R.T
    turned_camera = type(camera)(viewmat=viewmat, K=camera.K, width=24, height=24)
    turns = turn.expand(1, 40, 4)
    moved = Frames(
        asset, (asset.means @ R.T)[None], (turns, quaternion_multiply(turns, asset.quats), asset.scales[None])
    )
    still = render(asset, [camera], choose("cpu"))
    turned = render(moved, [turned_camera], choose("cpu"))
    torch.testing.assert_close(turned.rgb, still.rgb, atol=2e-5, rtol=0)
