"""A camera survives its file; a file that says no size leaves it to others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from stages.cameras import orbit_camera, upright_camera
from stages.cameras.file import file_size, read_camera, write_camera
from stages.cameras.path import Framing
from stages.errors import BadInput

VIEW = Framing(
    low=torch.tensor([-100.0, 0.0, -50.0]), high=torch.tensor([100.0, 150.0, 50.0]), azimuth_deg=35.0,
    elevation_deg=15.0, fov_deg=35.0, width=64, height=48,
)  # fmt: skip


@pytest.mark.parametrize("azimuth", [-170.0, 0.0, 30.0, 200.0])
def test_what_is_written_is_read(tmp_path: Path, azimuth: float) -> None:
    camera = orbit_camera(
        azimuth_deg=azimuth, elevation_deg=-8, radius=420, fov_deg=27, width=90, height=160,
        target=torch.tensor([3.0, 70.0, -4.0]),
    )  # fmt: skip
    numbers = write_camera(tmp_path / "a.json", camera, VIEW.target, torch.tensor([1.0, 0.5, 0.0]))
    found = read_camera(tmp_path / "a.json", VIEW)
    assert (found.width, found.height) == (90, 160) == file_size(tmp_path / "a.json")
    assert (numbers.azimuth_deg - azimuth + 180) % 360 == pytest.approx(180, abs=1e-3)
    points = 100 * torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.project(points), camera.project(points), atol=0.02, rtol=0)
    assert json.loads((tmp_path / "a.json").read_text())["background"] == [1.0, 0.5, 0.0]


def test_a_camera_that_does_not_look_at_the_middle(tmp_path: Path) -> None:
    forward = torch.nn.functional.normalize(torch.tensor([0.1, -0.2, -1.0]), dim=0)
    camera = upright_camera(
        position=torch.tensor([50.0, 100.0, 400.0]), forward=forward, fov_deg=40, width=64, height=64
    )
    write_camera(tmp_path / "a.json", camera, VIEW.target)
    found = read_camera(tmp_path / "a.json", VIEW)
    torch.testing.assert_close(found.viewmat, camera.viewmat, atol=2e-3, rtol=0)


def test_the_first_camera_of_a_path(tmp_path: Path) -> None:
    file = tmp_path / "path.json"
    file.write_text(json.dumps({"keyframes": [{"time": 0, "azimuth": 0}, {"time": 1, "azimuth": 90}]}))
    found = read_camera(file, VIEW)
    assert file_size(file) is None and (found.width, found.height) == (64, 48)
    assert float(found.position[0]) == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("sides", [{"width": 64}, {"width": 64.5, "height": 2}, {"width": "64", "height": "64"}])
def test_a_size_that_is_none(tmp_path: Path, sides: dict[str, object]) -> None:
    file = tmp_path / "odd.json"
    file.write_text(json.dumps({"keyframes": [{"time": 0}], **sides}))
    with pytest.raises(BadInput, match=r"odd\.json"):
        read_camera(file, VIEW)
