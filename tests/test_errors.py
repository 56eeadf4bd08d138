"""What other libraries say, however much or little that is, becomes one line about the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.errors import BadInput, first_line
from stages.gaussians.formats import ply_file
from stages.media import read as media
from stages.meshes.gltf import understanding
from stages.metrics import weights

SAID = ["", "  \n", "first of all.\n\tand then:\n\t* much more"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError(""), "ValueError"),
        (ValueError(" \n "), "ValueError"),
        (ValueError("\none thing:\n\tanother"), "one thing"),
        (OSError(28, "No space left on device", "a.mp4"), "No space left on device"),
        (OSError(28, ""), "[Errno 28]"),
        (OSError(), "OSError"),
    ],
)
def test_the_first_line(error: Exception, line: str) -> None:
    assert first_line(error) == line


def open_ply(path: Path, fail: Callable[..., Any], patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ply_file, "PlyData", SimpleNamespace(read=fail))
    ply_file.open_ply(path)


def open_video(path: Path, fail: Callable[..., Any], patch: pytest.MonkeyPatch) -> None:
    patch.setattr(media.imageio, "get_reader", fail)
    media.read_video(path)


def open_picture(path: Path, fail: Callable[..., Any], patch: pytest.MonkeyPatch) -> None:
    patch.setattr(media.Image, "open", fail)
    media.read_image(path)


def open_mesh(path: Path, fail: Callable[..., Any], patch: pytest.MonkeyPatch) -> None:
    with understanding(path):
        fail()


def open_weights(path: Path, fail: Callable[..., Any], patch: pytest.MonkeyPatch) -> None:
    patch.setattr(weights.torch, "load", fail)
    weights.read_weights(path)


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("opening", [open_ply, open_video, open_picture, open_mesh, open_weights])
def test_a_librarys_error_is_one_line_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opening: Callable[..., None], said: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError(said)

    path = tmp_path / "file.pth"
    path.write_bytes(b"ply\n")
    with pytest.raises(BadInput) as told:
        opening(path, fail, monkeypatch)
    assert str(path) in told.value.what and "\n" not in str(told.value)
    assert ("first of all." if said.strip() else "ValueError.") in told.value.what
    assert "much more" not in str(told.value)
