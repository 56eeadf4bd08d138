"""A video of any kind becomes a guide: the object without its background, the camera in step; faults are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from stages.cameras import Camera, orbit_camera
from stages.errors import BadInput
from stages.events import Caution, Event, Note
from stages.gaussians import Frames
from stages.guides.aspect import fit_aspect
from stages.guides.read_guide import read_first, read_guide, spread, still_of
from stages.media.contact_sheet import write_png
from stages.media.rgba import read_rgba
from stages.media.video import WRITERS
from stages.raster import choose, render
from stages.zoo.clips import rigged_clip
from stages.zoo.rigs import find_rig

SIDE = 128
GREEN = torch.tensor([0.1, 0.8, 0.3])


@pytest.fixture(scope="module")
def deer() -> Frames:
    clip = rigged_clip(find_rig("Deer.glb"), "walk", 12, 2000, torch.Generator().manual_seed(0))
    return Frames(clip.asset, clip.means)


CAMERA = orbit_camera(azimuth_deg=60, elevation_deg=10, radius=4.5, fov_deg=35, width=SIDE, height=SIDE)


@pytest.fixture(scope="module")
def video(deer: Frames) -> Tensor:
    """[T, H, W, 4], straight alpha."""
    seen = render(deer, [CAMERA] * deer.num_frames, choose("cpu"))
    return torch.cat([(seen.rgb / seen.alpha.clamp(min=1e-6)).clamp(0, 1), seen.alpha], dim=-1)


def behind(video: Tensor, colour: Tensor) -> Tensor:
    return video[..., :3] * video[..., 3:] + colour * (1 - video[..., 3:])


def overlap(a: Tensor, b: Tensor) -> float:
    return float(torch.minimum(a, b).sum() / torch.maximum(a, b).sum())


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif", ""])
def test_the_object_is_cut_out_of_every_kind_of_video(video: Tensor, tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"deer{suffix}"
    if suffix:
        WRITERS[suffix](source, behind(video, GREEN), 8)
    else:
        source.mkdir()
        for index, frame in enumerate(behind(video, GREEN)):
            write_png(source / f"f{index}.png", frame)  # f10 comes after f9
    told: list[Event] = []
    guide = read_guide(source, CAMERA, report=told.append, max_size_px=SIDE)
    assert guide.rgb.shape == (12, SIDE, SIDE, 3) and guide.camera.width == SIDE and guide.starts_at_rest
    assert min(overlap(mask, true) for mask, true in zip(guide.mask, video[..., 3], strict=True)) > 0.9
    assert float((guide.background - GREEN).abs().max()) < 0.04
    assert (guide.rgb[0, 0, 0] == guide.background).all()  # clean, whatever the codec made of it
    assert not [event for event in told if isinstance(event, Caution)]


@pytest.mark.parametrize("suffix", [".webm", ".mov", ".gif"])
def test_transparency_is_taken_as_it_is(video: Tensor, tmp_path: Path, suffix: str) -> None:
    WRITERS[suffix](tmp_path / f"deer{suffix}", video, 8)
    guide = read_guide(tmp_path / f"deer{suffix}", CAMERA, report=lambda _: None, max_size_px=SIDE)
    assert overlap(guide.mask, video[..., 3]) > 0.9 and (guide.background == 1).all()


def test_masks_for_a_background_that_is_not_plain(video: Tensor, tmp_path: Path) -> None:
    busy = torch.rand(1, SIDE, SIDE, 3, generator=torch.Generator().manual_seed(0))
    WRITERS[".mp4"](tmp_path / "deer.mp4", behind(video, busy), 8)
    with pytest.raises(BadInput, match="--mask"):
        read_guide(tmp_path / "deer.mp4", CAMERA, report=lambda _: None)
    masks = tmp_path / "masks"
    masks.mkdir()
    for index, frame in enumerate(video[..., 3:].expand(-1, -1, -1, 3)):
        write_png(masks / f"{index}.png", frame)
    guide = read_guide(tmp_path / "deer.mp4", CAMERA, report=lambda _: None, mask_dir=masks)
    torch.testing.assert_close(guide.mask, video[..., 3], atol=0.01, rtol=0)
    (masks / "3.png").unlink()
    with pytest.raises(BadInput, match="11 masks"):
        read_guide(tmp_path / "deer.mp4", CAMERA, report=lambda _: None, mask_dir=masks)


def test_fewer_frames_and_smaller_ones_with_their_camera(video: Tensor, deer: Frames, tmp_path: Path) -> None:
    WRITERS[".mp4"](tmp_path / "deer.mp4", behind(video, GREEN), 8)
    told: list[Event] = []
    guide = read_guide(tmp_path / "deer.mp4", CAMERA, report=told.append, num_frames=5, max_size_px=64)
    assert guide.rgb.shape == (5, 64, 64, 3) and any(isinstance(event, Note) for event in told)
    torch.testing.assert_close(guide.times * 11, (guide.times * 11).round(), atol=1e-4, rtol=0)
    frames = (guide.times * 11).round().long()
    seen = render(deer.select(frames), [guide.camera] * 5, choose("cpu"))
    assert overlap(guide.mask, seen.alpha[..., 0]) > 0.85


def test_the_first_frame_by_itself(video: Tensor, tmp_path: Path) -> None:
    WRITERS[".mp4"](tmp_path / "deer.mp4", behind(video, GREEN), 8)
    first, bars = read_first(tmp_path / "deer.mp4", report=lambda _: None, max_size_px=64)
    assert not bars
    assert first.rgb.shape == (1, 64, 64, 3) and float((first.background - GREEN).abs().max()) < 0.04
    small = torch.nn.functional.avg_pool2d(video[:1, ..., 3], 2)
    assert overlap(first.mask, small) > 0.85


def test_uneven_times_are_resampled_by_the_nearest_frame() -> None:
    times = torch.tensor([0.0, 0.05, 0.1, 0.6, 1.0])
    assert spread(times, 3).tolist() == [0, 3, 4] and spread(times, 9).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("how", ["cropped", "bars", "stretched"])
def test_a_service_that_changes_the_shape(deer: Frames, how: str) -> None:
    tall = orbit_camera(azimuth_deg=60, elevation_deg=10, radius=6, fov_deg=35, width=96, height=96)
    still = still_of(deer.asset_at(0), tall, choose("cpu"))
    picture = behind(still, GREEN)
    if how == "cropped":
        first = picture[18:78]
    elif how == "bars":
        first = torch.zeros(96, 160, 3)
        first[:, 32:128] = picture
    else:
        first = torch.nn.functional.interpolate(picture.permute(2, 0, 1)[None], (96, 160))[0].permute(1, 2, 0)
    fit = fit_aspect(first, tall, picture)
    assert how in fit.said
    part = first[fit.rows, fit.columns]
    assert part.shape[:2] == (fit.camera.height, fit.camera.width)
    seen = behind(still_of(deer.asset_at(0), fit.camera, choose("cpu")), GREEN)
    assert float((seen - part).abs().mean()) < 0.02
    with pytest.raises(BadInput, match="--size"):
        fit_aspect(first, tall, None)
    with pytest.raises(BadInput, match="--size"):
        fit_aspect(first.flip(0).roll(20, dims=1), tall, picture)


def read(frames: Tensor, folder: Path, camera: Camera = CAMERA, still: Tensor | None = None) -> list[Event]:
    told: list[Event] = []
    for index, frame in enumerate(frames):
        write_png(folder / f"{index:03d}.png", frame)
    read_guide(folder, camera, report=told.append, still=still)
    return told


def cautions(told: list[Event]) -> str:
    return " ".join(event.text for event in told if isinstance(event, Caution))


def test_faults_are_told_with_the_frame(video: Tensor, deer: Frames, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("good", "leaves", "cut", "zoom", "turned")]
    for folder in folders:
        folder.mkdir()
    plain, still = behind(video, GREEN), still_of(deer.asset_at(0), CAMERA, choose("cpu"))
    assert not cautions(read(plain, folders[0], still=still))
    shifted = torch.stack([behind(frame.roll(6 * t, dims=1), GREEN) for t, frame in enumerate(video)])
    assert "leaves the picture in frames" in cautions(read(shifted, folders[1]))
    other = render(deer, [replace(CAMERA, viewmat=orbit_camera(
        azimuth_deg=-80, elevation_deg=10, radius=4.5, fov_deg=35, width=SIDE, height=SIDE).viewmat)] * 12,
        choose("cpu"), background=GREEN).rgb  # fmt: skip
    with pytest.raises(BadInput, match="between its frames 5 and 6"):
        read(torch.cat([plain[:6], other[6:]]), folders[2])
    nearer = [orbit_camera(azimuth_deg=60, elevation_deg=10, radius=5.5 - 0.12 * t, fov_deg=35, width=SIDE,
                           height=SIDE) for t in range(12)]  # fmt: skip
    assert "static camera" in cautions(
        read(render(deer, nearer, choose("cpu"), background=GREEN).rgb, folders[3], camera=nearer[0])
    )
    assert "--camera auto" in cautions(read(other, folders[4], still=still))


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "empty").mkdir()
    for name in ("broken.mp4", "empty", "nowhere.webm"):
        with pytest.raises(BadInput, match=name):
            read_rgba(tmp_path / name)
