"""Videos hold the frames that were given, and a failure keeps the file that was there."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image

from stages.errors import BadInput, CannotWrite
from stages.media.contact_sheet import contact_sheet, to_bytes, write_png
from stages.media.preview import write_preview
from stages.media.video import check_size, even, write_gif, write_mov, write_mp4, write_webm


def read_video(path: Path, height: int, width: int, pixels: str = "rgb24") -> np.ndarray:
    """Frames uint8 [T, height, width, 3 or 4] of a video file, by ffmpeg itself."""
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    decoder = ["-c:v", "libvpx-vp9"] if path.suffix == ".webm" else []  # ffmpeg's own one drops the alpha
    command = [ffmpeg, "-v", "error", *decoder, "-i", str(path), "-f", "rawvideo", "-pix_fmt", pixels, "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, len(pixels.removesuffix("24")))


def moving_square(count: int, side: int) -> torch.Tensor:
    """Frames [count, side, side, 3]: a red square on white that goes right by two pixels a frame."""
    frames = torch.ones(count, side, side, 3)
    for index in range(count):
        frames[index, 8:20, 4 + 2 * index : 16 + 2 * index] = torch.tensor([0.9, 0.1, 0.1])
    return frames


def test_mp4_holds_the_frames(tmp_path: Path) -> None:
    frames = moving_square(6, 48)
    write_mp4(tmp_path / "clip.mp4", frames, fps=8)
    read = read_video(tmp_path / "clip.mp4", 48, 48)
    assert read.shape == (6, 48, 48, 3)
    assert np.abs(read.astype(int) - to_bytes(frames).numpy()).mean() < 4  # lossy
    red = (read[..., 1] < 128).any(axis=1)  # [T, W]
    left = red.argmax(axis=1)
    assert list(left - left[0]) == [0, 2, 4, 6, 8, 10]
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize(("write", "suffix"), [(write_webm, ".webm"), (write_mov, ".mov")])
def test_alpha_reads_back(tmp_path: Path, write: Any, suffix: str) -> None:
    """Alpha in steps from left to right on a red square whose surroundings are black and transparent."""
    frames = torch.zeros(3, 48, 48, 4)
    frames[:, 8:40, 8:40, 0] = 0.9
    frames[:, 8:40, 8:40, 3] = torch.linspace(0.25, 1.0, 4).repeat_interleave(8)
    write(tmp_path / f"clip{suffix}", frames, 8)
    read = read_video(tmp_path / f"clip{suffix}", 48, 48, "rgba")
    assert read.shape == (3, 48, 48, 4)
    wanted = to_bytes(frames).numpy().astype(int)
    assert np.abs(read[..., 3] - wanted[..., 3]).mean() < 2  # lossy
    assert np.abs(read[:, 20, 12:36:8, 3].astype(int) - wanted[:, 20, 12:36:8, 3]).max() < 6
    assert (read[:, 8:40, 8:40, 0] > 200).all()  # no dark outline
    write(tmp_path / f"clip{suffix}", frames[..., :3], 8)
    assert (read_video(tmp_path / f"clip{suffix}", 48, 48, "rgba")[..., 3] == 255).all()


def test_preview_is_a_video_and_its_contact_sheet(tmp_path: Path) -> None:
    assert write_preview(tmp_path / "preview", moving_square(16, 48), fps=8) == tmp_path / "preview.mp4"
    assert read_video(tmp_path / "preview.mp4", 240, 240).shape[0] == 16  # 48 px enlarged five times
    with Image.open(tmp_path / "preview.png") as sheet:
        assert sheet.size == (8 * 96, 96)


def test_gif_loops_over_every_frame(tmp_path: Path) -> None:
    write_gif(tmp_path / "clip.gif", moving_square(5, 32), fps=10)
    with Image.open(tmp_path / "clip.gif") as gif:
        assert gif.n_frames == 5 and gif.info["loop"] == 0 and gif.info["duration"] == 100
        gif.seek(4)
        last = np.asarray(gif.convert("RGB")).astype(int)
    assert np.abs(last - to_bytes(moving_square(5, 32)[4]).numpy()).max() < 12  # quantised colours


def test_failure_keeps_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "clip.gif").write_text("before")
    with pytest.raises(IndexError):
        write_gif(tmp_path / "clip.gif", torch.zeros(0, 8, 8, 3), fps=8)
    assert (tmp_path / "clip.gif").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["clip.gif"]


def test_contact_sheet_goes_row_by_row(tmp_path: Path) -> None:
    frames = torch.stack([torch.full((2, 3, 3), 0.1 * index) for index in range(5)])
    sheet = contact_sheet(frames, columns=3)
    assert sheet.shape == (4, 9, 3)
    corners = sheet[::2, ::3, 0]
    assert torch.allclose(corners, torch.tensor([[0.0, 0.1, 0.2], [0.3, 0.4, 1.0]]))  # white where no frame is left
    write_png(tmp_path / "sheet.png", sheet)
    with Image.open(tmp_path / "sheet.png") as picture:
        assert np.array_equal(np.asarray(picture), to_bytes(sheet).numpy())


@pytest.mark.parametrize(("write", "suffix"), [(write_mp4, ".mp4"), (write_webm, ".webm"), (write_mov, ".mov")])
def test_odd_sizes_repeat_their_last_row_and_column(tmp_path: Path, write: Any, suffix: str) -> None:
    frames = torch.linspace(0.2, 0.8, 33)[None, :, None, None].repeat(3, 1, 25, 3)
    frames[:, :, -1] = torch.tensor([0.9, 0.9, 0.1])
    write(tmp_path / f"clip{suffix}", frames, 8)
    read = read_video(tmp_path / f"clip{suffix}", 34, 26)
    assert read.shape == (3, 34, 26, 3)
    wanted = to_bytes(even(frames)).numpy().astype(int)
    np.testing.assert_array_equal(wanted[:, :33, :25], to_bytes(frames).numpy())
    np.testing.assert_array_equal(wanted[:, -1], wanted[:, -2])
    np.testing.assert_array_equal(wanted[:, :, -1], wanted[:, :, -2])
    assert np.abs(read - wanted).mean() < 6  # lossy


@pytest.mark.parametrize("size", [(1, 1), (8, 64), (20000, 64)])
def test_sizes_that_no_codec_takes(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(BadInput) as caught:
        check_size(tmp_path / "clip.mp4", *size)
    assert f"{size[0]} x {size[1]}" in caught.value.what and "clip.mp4" in caught.value.what
    with pytest.raises(BadInput):
        write_mp4(tmp_path / "clip.mp4", torch.zeros(1, 1, 1, 3), 8)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("write", "suffix"), [(write_mp4, ".mp4"), (write_webm, ".webm"), (write_mov, ".mov")])
def test_an_encoder_that_cannot_write_is_not_believed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], write: Any, suffix: str
) -> None:
    """No file may be larger than a limit, as on a full disk: ffmpeg ends, and imageio says nothing."""
    resource = pytest.importorskip("resource")
    frames = torch.rand(12, 128, 128, 3, generator=torch.Generator().manual_seed(0))
    path = tmp_path / f"clip{suffix}"
    path.write_bytes(b"what was there before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(CannotWrite, match=path.name):
            write(path, frames, 8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"what was there before" and list(tmp_path.iterdir()) == [path]
    assert capfd.readouterr().err == ""
