"""MV-VDM as a prior, tiny but real: what it sees, what it is told of cameras, and frame 0 at every call."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stages.cameras import Camera, orbit_camera
from stages.errors import BadInput
from stages.gaussians import Frames, Gaussians
from stages.priors.find import kind_of
from stages.priors.load import load_prior
from stages.priors.multiview import MVVDMPrior
from stages.priors.multiview.cameras import in_own_frame
from stages.priors.prior import Condition, Viewpoint, makes_videos, sees_views
from stages.raster import choose
from tests.priors.tiny_mvvdm import save_tiny

GREY = torch.full((3,), 0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("mvvdm"))


@pytest.fixture(scope="module")
def prior(folder: Path) -> MVVDMPrior:
    found = load_prior(str(folder), num_frames=3, size_px=8)
    assert isinstance(found, MVVDMPrior)
    return found


@pytest.fixture(scope="module")
def asset() -> Gaussians:
    generator = torch.Generator().manual_seed(0)
    count = 60
    return Gaussians(
        means=torch.rand(count, 3, generator=generator),
        quats=torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=1),
        log_scales=torch.full((count, 3), math.log(0.08)),
        logit_opacities=torch.full((count,), 3.0),
        sh=torch.randn(count, 1, 3, generator=generator),
    )


def look(prior: MVVDMPrior, asset: Gaussians, azimuth_deg: float = 0.0) -> Viewpoint:
    first, *beside = prior.cameras_around(asset, azimuth_deg)
    return Viewpoint(first, GREY, choose("cpu", None), beside=tuple(beside))


def test_is_a_prior_of_views_and_of_no_single_video(folder: Path, prior: MVVDMPrior) -> None:
    assert sees_views(prior) and not makes_videos(prior)
    assert prior.num_views == 4 and prior.parameterization.kind == "epsilon"
    assert kind_of(str(folder)) == "published"
    assert prior.ladder(25) == [1 + 40 * step for step in range(25)]


def test_clips_that_it_cannot_make(folder: Path) -> None:
    with pytest.raises(BadInput, match="2 to 32 frames, not 33"):
        load_prior(str(folder), num_frames=33)
    with pytest.raises(BadInput, match="multiple of 4, not 10"):
        load_prior(str(folder), size_px=10)


def test_sees_every_view_and_decodes_it(prior: MVVDMPrior, asset: Gaussians) -> None:
    """A moving asset's latents: each view's own, differentiable, and frames back."""
    view = look(prior, asset)
    moves = torch.zeros(1, requires_grad=True)
    frames = Frames.at_rest(asset, 3)
    moved = frames.means + moves * torch.arange(3.0)[:, None, None]
    latents = prior.observe(replace(frames, means=moved), view).latents
    assert latents is not None and latents.shape == (1, 4, 4, 3, 4, 4)
    latents.square().sum().backward()
    assert moves.grad is not None and moves.grad.abs() > 0.0
    still = prior.still_latents(asset, view)
    torch.testing.assert_close(still, latents.detach(), atol=1e-4, rtol=1e-4)
    assert (still[:, 0] - still[:, 1]).abs().max() > 1e-3
    decoded = prior.decode_views(still)
    assert decoded.shape == (4, 3, 8, 8, 3) and decoded.min() >= 0.0 and decoded.max() <= 1.0
    assert prior.frame_times(view).tolist() == [0.0, 0.5, 1.0]


def told(prior: MVVDMPrior, asset: Gaussians, prompt: str = "a deer walks", azimuth_deg: float = 0.0) -> Condition:
    return prior.condition(prior.encode_text([prompt]), asset, look(prior, asset, azimuth_deg))


def test_is_told_pictures_and_cameras(prior: MVVDMPrior, asset: Gaussians) -> None:
    condition = told(prior, asset)
    assert condition.picture is not None and condition.appearance is not None and condition.cameras is not None
    still = prior.still_latents(asset, look(prior, asset))
    torch.testing.assert_close(condition.picture, still[:, :, :, 0])
    assert condition.appearance.shape == (1, 4, 1, 16) and condition.cameras.shape == (4, 4, 4)


@pytest.mark.parametrize("timestep", [1, 500, 999])
def test_frame_0_is_the_given_picture_at_every_call(prior: MVVDMPrior, asset: Gaussians, timestep: int) -> None:
    """Whatever stands there: the network sees the picture, and the estimate is the picture."""
    condition = told(prior, asset)
    assert condition.picture is not None
    x_t = torch.randn(1, 4, 4, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    other = x_t.clone()
    other[:, :, :, 0] = 7.0
    with torch.no_grad():
        said, same = prior.predict(x_t, timestep, condition), prior.predict(other, timestep, condition)
    assert torch.equal(said[:, :, :, 1:], same[:, :, :, 1:])
    clean = prior.parameterization.to_x0(said, x_t, timestep)[:, :, :, 0]
    torch.testing.assert_close(clean, condition.picture, atol=2e-3, rtol=1e-3)


def test_the_null_prompt_keeps_frame_0_and_sees_no_appearance(prior: MVVDMPrior, asset: Gaussians) -> None:
    x_t = torch.randn(1, 4, 4, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    for prompt, matters in (("", False), ("a deer walks", True)):
        condition = told(prior, asset, prompt)
        assert condition.picture is not None and condition.appearance is not None
        with torch.no_grad():
            said = prior.predict(x_t, 500, condition)
            blind = prior.predict(x_t, 500, replace(condition, appearance=condition.appearance + 1.0))
            elsewhere = prior.predict(x_t, 500, replace(condition, picture=condition.picture + 1.0))
        assert ((said - blind).abs().max() > 1e-6) == matters
        assert (said - elsewhere)[:, :, :, 1:].abs().max() > 1e-6


def test_two_prompts_in_a_batch_are_each_on_its_own(prior: MVVDMPrior, asset: Gaussians) -> None:
    x_t = torch.randn(1, 4, 4, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    conditions = [told(prior, asset, prompt) for prompt in ("", "a deer walks")]
    with torch.no_grad():
        apart = torch.cat([prior.predict(x_t, 500, condition) for condition in conditions])
        together = prior.predict(x_t.expand(2, *x_t.shape[1:]), 500, Condition.stack(conditions))
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)
    assert (apart[0] - apart[1]).abs().max() > 1e-4


def own_camera(azimuth_deg: float, elevation_deg: float) -> torch.Tensor:
    """MVDream's camera-to-world as its code makes it: z up, azimuth from +x, one unit away, OpenGL."""
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    back = torch.tensor(
        [math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth), math.sin(elevation)]
    )
    right = torch.nn.functional.normalize(torch.linalg.cross(-back, torch.tensor([0.0, 0.0, 1.0])), dim=0)
    matrix = torch.eye(4)
    matrix[:3] = torch.stack([right, torch.linalg.cross(right, -back), back, back], dim=1)
    return matrix


@pytest.mark.parametrize("azimuth_deg", [0.0, 90.0, 215.0])
def test_cameras_in_its_frame(azimuth_deg: float) -> None:
    """Wherever the target is and however far the camera: the same azimuth and elevation, one unit away."""
    camera = orbit_camera(
        azimuth_deg=azimuth_deg,
        elevation_deg=15.0,
        radius=3.0,
        fov_deg=40.0,
        width=8,
        height=8,
        target=torch.tensor([1.0, 2.0, 3.0]),
    )
    torch.testing.assert_close(in_own_frame([camera])[0], own_camera(azimuth_deg, 15.0), atol=1e-5, rtol=0.0)


def test_four_cameras_around_the_asset(prior: MVVDMPrior, asset: Gaussians) -> None:
    cameras = prior.cameras_around(asset, 30.0)
    expected = torch.stack([own_camera(30.0 + 90.0 * index, 15.0) for index in range(4)])
    torch.testing.assert_close(in_own_frame(cameras), expected, atol=1e-5, rtol=0.0)
    low, high = asset.bounds()
    corners = torch.stack([torch.where(torch.tensor(bits), low, high) for bits in _corners()])
    for camera in cameras:
        assert isinstance(camera, Camera)
        seen = camera.project(corners)
        assert (seen > -0.5).all() and (seen < 8.5).all()


def _corners() -> list[tuple[bool, bool, bool]]:
    return [(bool(i & 1), bool(i & 2), bool(i & 4)) for i in range(8)]
