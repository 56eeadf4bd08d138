"""Fitting to videos: tracks, what is seen, what is left open."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from stages.cameras import Camera, orbit_camera
from stages.conventions import frame_times
from stages.distilling.following import FollowConfig, Following
from stages.distilling.given import GivenVideos, cropped, in_step, shrunk
from stages.distilling.sideways import Sideways
from stages.distilling.tracks import (
    Seen,
    agreed,
    agreement,
    estimated_tracks,
    most_like,
    tracks_of,
    triangulated,
    visibility,
)
from stages.errors import BadInput
from stages.gaussians import Frames, Gaussians
from stages.guides import Guide
from stages.motion.kinds import MotionConfig, new_motion
from stages.raster import choose, render
from stages.raster.render import render_flow
from tests.objectives.test_pixel_flow import ball

SIZE = 64


def camera_at(azimuth_deg: float, size: int = SIZE) -> Camera:
    return orbit_camera(azimuth_deg=azimuth_deg, elevation_deg=10.0, radius=5.0, fov_deg=40.0, width=size, height=size)


def rising(asset: Gaussians, by: float = 0.4, frames: int = 5) -> Frames:
    """It goes up, and a little to +x."""
    moves = torch.linspace(0.0, by, frames)[:, None, None] * torch.tensor([0.4, 1.0, 0.0])
    return Frames(asset, asset.means + moves)


@torch.no_grad()
def guide_of(frames: Frames, camera: Camera) -> Guide:
    seen = render(frames, [camera] * frames.num_frames, choose("cpu"), background=torch.ones(3))
    return Guide(
        camera=camera,
        rgb=seen.rgb.clamp(0.0, 1.0),
        mask=seen.alpha[..., 0],
        times=frame_times(frames.num_frames),
        background=torch.ones(3),
    )


def test_what_is_behind_is_not_seen() -> None:
    asset = ball(200)
    camera = camera_at(0.0)
    seen = visibility(asset, camera, choose("cpu"))
    towards = asset.means @ torch.nn.functional.normalize(camera.position, dim=0)
    near, far = towards > 0.5 * towards.max(), towards < 0.5 * towards.min()
    assert seen.shape == (200,) and float(seen.min()) >= 0.0 and float(seen.max()) <= 1.0
    assert float(seen[near].mean()) > 2.0 * float(seen[far].mean())


def test_tracks_follow_the_true_flow() -> None:
    asset, camera = ball(200), camera_at(30.0)
    frames = rising(asset)
    flow, alpha = render_flow(asset, camera, choose("cpu"), frames.means)
    tracks = tracks_of(asset, camera, flow / alpha.clamp(min=1e-3), (alpha[..., 0] > 0.5).float(), choose("cpu"))
    away = (tracks.targets - camera.project(frames.means)).norm(dim=-1)
    assert float((away * tracks.weights).sum() / tracks.weights.sum()) < 0.5


def test_two_cameras_agree_and_say_where_it_goes() -> None:
    asset = ball(200)
    frames = rising(asset)
    tracks = []
    for azimuth in (0.0, 60.0):
        camera = camera_at(azimuth)
        flow, alpha = render_flow(asset, camera, choose("cpu"), frames.means)
        sure = (alpha[..., 0] > 0.5).float()
        tracks.append(tracks_of(asset, camera, flow / alpha.clamp(min=1e-3), sure, choose("cpu")))
    explained = agreement(asset.means, tracks)
    assert explained is not None and explained > 0.95
    moves = triangulated([Seen.of(asset.means, one) for one in tracks])
    twice = torch.stack([one.weights[-1] for one in tracks]).amin(dim=0) > 0.5
    wanted = (frames.means[-1] - asset.means)[twice]
    assert float((moves[-1, twice] - wanted).norm(dim=-1).mean()) < 0.1 * float(wanted.norm(dim=-1).mean())
    against = replace(tracks[1], targets=2.0 * camera.project(asset.means) - tracks[1].targets)
    disagreeing = agreement(asset.means, [tracks[0], against])
    assert disagreeing is not None and disagreeing < 0.6
    assert agreement(asset.means, tracks[:1]) is None


def test_of_three_cameras_two_that_agree_prevail() -> None:
    asset = ball(200)
    frames = rising(asset)
    tracks = []
    for azimuth in (0.0, 25.0, 50.0):
        camera = camera_at(azimuth)
        flow, alpha = render_flow(asset, camera, choose("cpu"), frames.means)
        sure = (alpha[..., 0] > 0.5).float()
        tracks.append(tracks_of(asset, camera, flow / alpha.clamp(min=1e-3), sure, choose("cpu")))
    tracks[1] = replace(tracks[1], targets=2.0 * tracks[1].camera.project(asset.means) - tracks[1].targets)
    size = float((asset.bounds()[1] - asset.bounds()[0]).norm())
    everyone = torch.stack([one.weights[-1] for one in tracks]).amin(dim=0) > 0.5
    left = [
        float((one.weights[-1] / before.weights[-1])[everyone].mean())
        for one, before in zip(agreed(asset.means, tracks, size), tracks, strict=True)
    ]
    assert everyone.sum() > 10 and left[1] < 0.1 and min(left[0], left[2]) > 0.5
    alone = [replace(one, weights=one.weights * (number == 1)) for number, one in enumerate(tracks)]
    assert torch.equal(agreed(asset.means, alone, size)[1].weights, tracks[1].weights)


def test_a_video_that_does_not_begin_at_rest_is_tracked_from_where_it_is_nearest() -> None:
    asset, camera = ball(200), camera_at(0.0, 96)
    frames = rising(asset)
    backwards = Frames(asset, frames.means.flip(0))
    guide = replace(guide_of(backwards, camera), starts_at_rest=False)
    assert most_like(guide_of(Frames.at_rest(asset), camera), guide) == 4
    tracks = estimated_tracks(asset, guide, choose("cpu"))
    sure = tracks.weights[0] > 0.5
    found = (tracks.targets[0] - camera.project(asset.means))[sure].mean(dim=0)
    wanted = (camera.project(backwards.means[0]) - camera.project(asset.means))[sure].mean(dim=0)
    assert sure.any() and float((found - wanted).norm()) < 0.25 * float(wanted.norm())


@pytest.mark.parametrize("weights", [{"flow_weight": 0.0}, {"rgb_weight": 0.0, "mask_weight": 0.0}])
def test_a_fit_finds_the_motion(weights: dict[str, float]) -> None:
    asset = ball(60)
    frames = rising(asset)
    guides = [guide_of(frames, camera_at(azimuth, 32)) for azimuth in (0.0, 90.0)]
    tracks = [estimated_tracks(asset, guide, choose("cpu")) for guide in guides]
    fit = Following(asset, guides, tracks, FollowConfig(**weights), choose("cpu"), steps=60, seed=0)
    motion = new_motion(MotionConfig(), asset, 0)
    optimiser = torch.optim.Adam(motion.parameter_groups(2e-2))
    for step in range(60):
        loss = fit.step(motion, [], step)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        moves = motion.at(asset, fit.times).means - asset.means
    wanted = frames.means - asset.means
    cosine = float((moves * wanted).sum() / (moves.norm() * wanted.norm()))
    assert cosine > 0.9
    assert fit.film(motion).shape == (5, 32, 64, 3)


def test_movement_to_the_side_costs_by_where_the_body_faces() -> None:
    asset, generator = ball(20), torch.Generator()
    to_x = Frames(asset, (asset.means + torch.tensor([0.3, 0.0, 0.0]))[None])
    facing_z, facing_x = (Sideways(1.0, asset, degrees)(to_x, generator) for degrees in (0.0, 90.0))
    assert float(facing_z) > 1e-3 and abs(float(facing_x)) < 1e-6


def test_a_guide_is_cropped_to_what_moves_and_made_smaller() -> None:
    asset = ball(60)
    guide = guide_of(rising(asset), camera_at(0.0, 96))
    small = shrunk(cropped(guide), 24)
    assert max(small.camera.width, small.camera.height) == 24
    assert small.rgb.shape == (5, small.camera.height, small.camera.width, 3)
    again = guide_of(rising(asset), small.camera)
    assert float((again.mask - small.mask).abs().mean()) < 0.1
    assert float((again.rgb - small.rgb).abs().mean()) < 0.1


def test_videos_of_other_lengths_come_into_step() -> None:
    guide = guide_of(rising(ball(20), frames=9), camera_at(0.0, 16))
    short = guide_of(rising(ball(20), frames=5), camera_at(90.0, 16))
    both = in_step([guide, short])
    assert [len(one.rgb) for one in both] == [5, 5]
    torch.testing.assert_close(both[0].rgb, guide.rgb[::2])


def test_cameras_and_videos_go_together() -> None:
    with pytest.raises(BadInput, match="2 videos have 1 cameras"):
        GivenVideos(videos=("a.mp4", "b.mp4"), cameras=("a.json",))
    with pytest.raises(BadInput, match="not there"):
        GivenVideos(videos=("missing.mp4",)).inputs()
