"""The rules that gsplat sets: its own torch projection on any machine, its kernels where there is a CUDA device."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from stages.geometry.rotations import quaternion_matrices
from stages.raster import cpu, gsplat_cuda, torch_reference
from stages.raster.rules import LOW_PASS_PX2
from tests.raster.scenes import (
    BACKGROUND,
    KINDS,
    SIZE,
    image_and_gradients,
    moving_body,
    picture_behind,
    relative_error,
    scene,
)

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.skipif(find_spec("gsplat.csrc") is not None, reason="this wheel has its kernels")
@pytest.mark.parametrize("nvcc", [None, "exit 1"])
def test_kernels_that_cannot_be_compiled_are_said_to_be(tmp_path: Path, nvcc: str | None) -> None:
    """Without a CUDA toolkit, and with one that does not work."""
    if nvcc is not None:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "nvcc").write_text(f"#!/bin/sh\n{nvcc}\n")
        (tmp_path / "bin" / "nvcc").chmod(0o755)
    environment = {"PATH": str(tmp_path / "bin"), "CUDA_HOME": str(tmp_path), "TORCH_EXTENSIONS_DIR": str(tmp_path)}
    code = (
        "from stages.errors import NotAvailable\n"
        "from stages.raster.gsplat_cuda import load_kernels\n"
        "try: load_kernels()\n"
        "except NotAvailable as error: print(error)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    said = found.stdout.splitlines()[-1]
    assert said.startswith("gsplat's kernels cannot be loaded: "), said
    assert "nvcc" in said and "--raster cpu" in said


@pytest.mark.parametrize("kind", KINDS)
def test_projection_is_gsplats(kind: str) -> None:
    """Means, covariances with low-pass and frustum clamp, depths, of what lies in front of the camera."""
    from gsplat.cuda._torch_impl import _persp_proj, _world_to_cam

    arguments = scene(kind, frames=1)
    arguments["Ks"][:, 0, 2] += 3.0  # off-centre, so that the two sides of the frustum differ
    viewmat, K = arguments["viewmats"][0], arguments["Ks"][0]
    in_front = arguments["means"][0] @ viewmat[2, :3] + viewmat[2, 3] > 0.01
    means, quats, scales = (
        arguments["means"][0][in_front],
        arguments["quats"][0][in_front],
        arguments["scales"][in_front],
    )
    S = quaternion_matrices(quats) * scales[:, None]
    means_cam, covariances_cam = _world_to_cam(means, S @ S.mT, viewmat[None])
    xy, covariances = _persp_proj(means_cam, covariances_cam, K[None], *SIZE)
    covariances = covariances + LOW_PASS_PX2 * torch.eye(2, dtype=torch.float64)
    mine = torch_reference.project(means, quats, scales, viewmat, K, *SIZE)
    for value, truth in zip(mine, (xy[0], covariances[0], means_cam[0, :, 2]), strict=True):
        torch.testing.assert_close(value, truth, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rasterize", [cpu.rasterize, torch_reference.rasterize], ids=["cpu", "reference"])
def test_the_gaussian_that_would_end_the_light_is_dropped_with_all_behind(rasterize) -> None:  # type: ignore
    """gsplat's RasterizeToPixels3DGSFwd.cu by hand, four Gaussians on the ray of the centre pixel.

    Alphas 0.5 and 0.999 (clamped from 1) leave 0.5 and 5e-4. The third (0.9) would bring that to 5e-5 <= 1e-4 and ends
    the pixel, so the fourth (0.05), which would fit again, is not seen either. Nor are one nearer than the near plane
    and one whose opacity is below 1/255.
    """
    depths = torch.tensor([1.0, 2.0, 3.0, 4.0, 0.009, 0.5])
    opacities = torch.tensor([0.5, 1.0, 0.9, 0.05, 1.0, 0.0039])
    means = torch.stack([torch.zeros(6), torch.zeros(6), depths], dim=-1)[None].double()
    K = torch.tensor([[[10.0, 0.0, 2.5], [0.0, 10.0, 2.5], [0.0, 0.0, 1.0]]]).double()
    out = rasterize(
        means.flip(1), torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(1, 6, 4).double(), torch.full((6, 3), 0.1).double(),
        opacities.double().flip(0), torch.eye(6, 3).double().flip(0), torch.eye(4)[None].double(), K, 5, 5,
    )  # fmt: skip
    expected = torch.tensor([0.5, 0.5 * 0.999, 0.0]).double()
    torch.testing.assert_close(out.rgb[0, 2, 2], expected, rtol=0, atol=1e-7)
    torch.testing.assert_close(out.alpha[0, 2, 2, 0], expected.sum(), rtol=0, atol=1e-7)


CARD = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
ON_CARD = pytest.param(gsplat_cuda.rasterize, "cuda", 1e-2, id="gsplat", marks=CARD)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", ["soft", "needles", "behind"])
def test_gsplat_equals_the_reference(kind: str) -> None:
    """gsplat computes in float32 throughout; 1e-3 is allowed on these scenes, 2e-2 on needles [not yet measured]."""
    arguments = {key: value.float().double() for key, value in scene(kind).items()}
    truth = image_and_gradients(torch_reference.rasterize, arguments, torch.float64)
    on_gpu = {key: value.cuda() for key, value in arguments.items()}
    mine = image_and_gradients(gsplat_cuda.rasterize, on_gpu, torch.float32)
    errors = {key: relative_error(mine[key].cpu(), truth[key]) for key in truth}
    assert max(errors.values()) < (2e-2 if kind == "needles" else 1e-3), errors


@pytest.mark.parametrize("behind", ["colour", "picture"])
@pytest.mark.parametrize("shared", [False, True], ids=["scales per frame", "shared scales"])
@pytest.mark.parametrize(("rasterize", "device", "most"), [pytest.param(cpu.rasterize, "cpu", 1e-4, id="cpu"), ON_CARD])
def test_a_body_that_turns_and_stretches_looks_the_same(  # type: ignore[no-untyped-def]
    rasterize, device: str, most: float, shared: bool, behind: str
) -> None:
    """Values and gradients with derived orientation. On a card a pixel may decide otherwise at the threshold of alpha,
    whence 1e-2 [not yet measured]."""
    arguments = moving_body(150, (0, 8), 24)
    assert arguments["scales"].shape == arguments["means"].shape and float(arguments["scales"].std(dim=0).max()) > 1e-4
    if shared:
        arguments["scales"] = arguments["scales"][0]
    background = picture_behind(arguments, 24) if behind == "picture" else BACKGROUND
    truth = image_and_gradients(torch_reference.rasterize, arguments, torch.float64, (24, 24), background)
    there = {key: value.to(device) for key, value in arguments.items()}
    mine = image_and_gradients(rasterize, there, torch.float32, (24, 24), background.to(device))
    errors = {key: relative_error(mine[key].cpu(), truth[key]) for key in truth}
    assert max(errors.values()) < most, errors


@pytest.mark.parametrize(("rasterize", "device", "most"), [pytest.param(cpu.rasterize, "cpu", 1e-4, id="cpu"), ON_CARD])
def test_gaussians_that_are_hidden_in_some_frames(rasterize, device: str, most: float) -> None:  # type: ignore
    """Opacities [T, N], values and gradients, over a picture."""
    arguments = moving_body(150, (0, 8), 24)
    shown = torch.ones(2, 150, dtype=torch.float64)
    shown[1, ::2] = 0.0
    arguments["opacities"] = arguments["opacities"] * shown
    background = picture_behind(arguments, 24)
    truth = image_and_gradients(torch_reference.rasterize, arguments, torch.float64, (24, 24), background)
    there = {key: value.to(device) for key, value in arguments.items()}
    mine = image_and_gradients(rasterize, there, torch.float32, (24, 24), background.to(device))
    assert mine["opacities"].shape == (2, 150) and float(mine["opacities"][1, ::2].abs().max()) == 0.0
    errors = {key: relative_error(mine[key].cpu(), truth[key]) for key in truth}
    assert max(errors.values()) < most, errors
