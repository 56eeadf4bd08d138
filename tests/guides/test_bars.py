"""Bars around a video are found and left out; what only looks like one is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad

from stages.cameras.file import OrbitNumbers
from stages.events import Event, Note
from stages.gaussians import Frames
from stages.gaussians.normalised import normalised
from stages.guides.bars import find_bars
from stages.guides.find_camera import find_camera
from stages.guides.read_guide import read_first, read_guide, still_of
from stages.media.contact_sheet import write_png
from stages.media.video import WRITERS
from stages.raster import choose, render
from tests.guides.test_read_guide import CAMERA, GREEN, SIDE, behind, deer, overlap, video

__all__ = ["deer", "video"]
AROUND = {"sides": (40, 40, 0, 0), "top and bottom": (0, 0, 32, 32), "left": (48, 0, 0, 0), "all": (24, 24, 16, 16)}
"""Pixels at the left, right, top and bottom."""


def barred(frames: Tensor, around: tuple[int, int, int, int], colour: float = 0.0) -> Tensor:
    return pad(frames.movedim(-1, 1), around, value=colour).movedim(1, -1)


@pytest.mark.parametrize("around", AROUND.values(), ids=list(AROUND))
@pytest.mark.parametrize("colour", [0.0, 1.0])
def test_bars_of_a_compressed_video(
    video: Tensor, tmp_path: Path, around: tuple[int, int, int, int], colour: float
) -> None:
    WRITERS[".mp4"](tmp_path / "deer.mp4", barred(behind(video, GREEN), around, colour), 8)
    told: list[Event] = []
    first, bars = read_first(tmp_path / "deer.mp4", report=told.append)
    height, width = SIDE + around[2] + around[3], SIDE + around[0] + around[1]
    sides = (bars.left * width, bars.right * width, bars.top * height, bars.bottom * height)
    for found, true in zip(sides, around, strict=True):
        assert true <= round(found) <= true + 4 if true else found == 0
    assert any(isinstance(event, Note) and "bars" in event.text for event in told)
    rows, columns = (slice(round(sides[2]), height - round(sides[3])), slice(round(sides[0]), width - round(sides[1])))
    true_mask = barred(video[:1, ..., 3:], around)[0, rows, columns, 0]
    assert overlap(first.mask[0], true_mask) > 0.9
    guide = read_guide(
        tmp_path / "deer.mp4", replace(CAMERA, width=first.mask.shape[2], height=first.mask.shape[1]),
        report=lambda _: None, bars=bars,
    )  # fmt: skip
    assert guide.rgb.shape[1:3] == first.mask.shape[1:] and overlap(guide.mask[0], true_mask) > 0.9


def test_what_is_no_bar(video: Tensor) -> None:
    def of(frames: Tensor) -> bool:
        return bool(find_bars((frames * 255).round().to(torch.uint8)))

    plain = behind(video, GREEN)
    assert not of(plain) and not of(behind(video, torch.zeros(3))) and not of(torch.zeros(4, 64, 64, 3))
    sunk = plain.clone()
    sunk[:, -20:] = 0.4  # a floor: it lies on one side, and the body stands before its edge
    sunk[:, -40:, 40:90] = 0.2
    assert not of(sunk)
    late = barred(plain, AROUND["sides"])
    late[5:, :, :40] = late[5:, :, -40:] = 1.0
    assert not of(late), "what is not the same in all frames"


def test_the_camera_is_found_between_bars_and_with_masks(deer: Frames, tmp_path: Path) -> None:
    asset = normalised(deer.asset)
    seen = render(asset, [CAMERA], choose("cpu"))
    busy = torch.rand(SIDE, SIDE, 3, generator=torch.Generator().manual_seed(0))
    frame = seen.rgb[0] + (1 - seen.alpha[0]) * busy
    for folder, image in ((tmp_path / "frames", frame), (tmp_path / "masks", seen.alpha[0].expand(-1, -1, 3))):
        folder.mkdir()
        for index in range(2):
            write_png(folder / f"{index}.png", barred(image[None], AROUND["sides"])[0])
    first, bars = read_first(tmp_path / "frames", report=lambda _: None, mask_dir=tmp_path / "masks")
    assert bars
    found = find_camera(asset, first.rgb[0], first.mask[0], choose("cpu"), lambda _: None, background=first.background)
    low, high = asset.bounds()
    numbers, true = (OrbitNumbers.of(camera, 0.5 * (low + high)) for camera in (found, CAMERA))
    assert abs(numbers.azimuth_deg - true.azimuth_deg) < 5 and abs(numbers.elevation_deg - true.elevation_deg) < 5
    guide = read_guide(
        tmp_path / "frames", found, report=lambda _: None, mask_dir=tmp_path / "masks", bars=bars,
        still=still_of(asset, found, choose("cpu")),
    )  # fmt: skip
    assert guide.starts_at_rest
