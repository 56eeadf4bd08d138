"""Choosing a backend, and rendering an asset with it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from stages.cameras import orbit_camera
from stages.errors import BadInput, NotAvailable
from stages.gaussians import Gaussians
from stages.gaussians.sh import eval_sh, rotate_sh
from stages.raster import choose, cpu, gsplat_cuda, render, torch_reference
from stages.rotations import quaternion_matrices, quaternion_multiply
from tests.raster.scenes import image_and_gradients, relative_error, scene


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


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", ["soft", "needles", "behind"])
def test_gsplat_equals_the_reference(kind: str) -> None:
    """gsplat computes in float32 throughout; 1e-3 is what that allows on these scenes, needles 2e-2."""
    arguments = {key: value.float().double() for key, value in scene(kind).items()}
    truth = image_and_gradients(torch_reference.rasterize, arguments, torch.float64)
    on_gpu = {key: value.cuda() for key, value in arguments.items()}
    mine = image_and_gradients(gsplat_cuda.rasterize, on_gpu, torch.float32)
    errors = {key: relative_error(mine[key].cpu(), truth[key]) for key in truth}
    assert max(errors.values()) < (2e-2 if kind == "needles" else 1e-3), errors


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
    quats = quaternion_multiply(turn.expand(40, 4), asset.quats)
    still = render(asset, [camera], choose("cpu"))
    turned = render(asset, [turned_camera], choose("cpu"), means=(asset.means @ R.T)[None], quats=quats[None])
    torch.testing.assert_close(turned.rgb, still.rgb, atol=2e-5, rtol=0)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_rotated_harmonics_are_the_old_ones_seen_from_the_turned_direction(degree: int) -> None:
    sh = 0.2 * torch.randn(10, (degree + 1) ** 2, 3, generator=torch.Generator().manual_seed(1))
    R = quaternion_matrices(torch.randn(10, 4, generator=torch.Generator().manual_seed(2)))
    directions = torch.nn.functional.normalize(torch.randn(10, 3, generator=torch.Generator().manual_seed(3)), dim=-1)
    seen = eval_sh(sh, (R.mT @ directions[..., None])[..., 0])
    torch.testing.assert_close(eval_sh(rotate_sh(sh, R), directions), seen, atol=1e-5, rtol=0)
