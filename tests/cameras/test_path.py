"""A camera follows its file: through every keyframe, smoothly, and a bad file is one line."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.cameras import Camera, orbit_camera
from stages.cameras.path import Framing, orbit_path, read_path
from stages.errors import BadInput

VIEW = Framing(
    low=torch.tensor([-1.0, 0.0, -1.0]), high=torch.tensor([1.0, 2.0, 1.0]), azimuth_deg=35.0, elevation_deg=15.0,
    fov_deg=35.0, width=64, height=48,
)  # fmt: skip


def read(folder: Path, content: Any, times: torch.Tensor) -> list[Camera]:
    (folder / "path.json").write_text(json.dumps(content))
    return read_path(folder / "path.json", VIEW, times)


def test_around_passes_through_its_keyframes_and_keeps_what_is_left_out(tmp_path: Path) -> None:
    keys = [{"time": 0, "azimuth": 0}, {"time": 0.5, "azimuth": 90, "elevation": 40, "radius": 3, "fov": 50},
            {"time": 1, "azimuth": 60, "target": [0.0, 1.5, 0.0]}]  # fmt: skip
    cameras = read(tmp_path, {"keyframes": keys}, torch.linspace(0, 1, 21))
    middle = orbit_camera(
        azimuth_deg=90, elevation_deg=40, radius=3, fov_deg=50, width=64, height=48, target=VIEW.target
    )
    torch.testing.assert_close(cameras[10].viewmat, middle.viewmat)
    torch.testing.assert_close(cameras[10].K, middle.K)
    torch.testing.assert_close(cameras[0].viewmat, orbit_path(replace(VIEW, azimuth_deg=0.0), 1, 0.0)[0].viewmat)
    azimuths = [math.degrees(math.atan2(*(c.position - VIEW.target)[[0, 2]].tolist())) for c in cameras]
    assert max(azimuths[:11]) <= 90.001 and azimuths[:11] == sorted(azimuths[:11])  # never beyond a keyframe
    steps = torch.stack([b.position - a.position for a, b in pairwise(cameras)])
    assert float((steps[1:] - steps[:-1]).norm(dim=-1).max()) < 0.6 * float(steps.norm(dim=-1).max())  # no jerk


def test_positions_look_at_their_target_and_stand_still_outside_of_the_keyframes(tmp_path: Path) -> None:
    keys = [
        {"time": 0.25, "position": [0, 1, 4], "target": [0, 1, 0]},
        {"time": 0.75, "position": [4, 1, 0], "fov": 20},
    ]
    cameras = read(tmp_path, {"keyframes": keys}, torch.linspace(0, 1, 5))
    torch.testing.assert_close(cameras[0].position, torch.tensor([0.0, 1.0, 4.0]))
    torch.testing.assert_close(cameras[1].viewmat, cameras[0].viewmat)
    torch.testing.assert_close(cameras[4].position, torch.tensor([4.0, 1.0, 0.0]))
    torch.testing.assert_close(cameras[4].project(VIEW.target), torch.tensor([32.0, 24.0]))
    assert float(cameras[4].K[0, 0]) == pytest.approx(24.0 / math.tan(math.radians(10.0)))


def test_matrices_of_a_nerf(tmp_path: Path) -> None:
    """A camera of ours, written as a NeRF would, comes back; between two, the turn is halved."""
    ours = [orbit_camera(azimuth_deg=a, elevation_deg=20, radius=3, fov_deg=40, width=48, height=64) for a in (0, 60)]
    frames = []
    for camera in ours:
        pose = torch.linalg.inv(camera.viewmat)
        pose[:3, 1:3] *= -1.0  # y up, looking along -z
        frames.append({"transform_matrix": pose.tolist()})
    (tmp_path / "path.json").write_text(json.dumps({"camera_angle_x": math.radians(40), "frames": frames}))
    cameras = read_path(tmp_path / "path.json", replace(VIEW, width=48, height=64), torch.linspace(0, 1, 3))
    for camera, mine in zip((cameras[0], cameras[2]), ours, strict=True):
        torch.testing.assert_close(camera.viewmat, mine.viewmat, atol=1e-5, rtol=0)
        torch.testing.assert_close(camera.K, mine.K)
    first, half = (camera.viewmat[:3, :3] for camera in cameras[:2])
    angles = [torch.acos(((a @ b.T).trace() - 1) / 2) for a, b in ((first, half), (first, cameras[2].viewmat[:3, :3]))]
    torch.testing.assert_close(2.0 * angles[0], angles[1], atol=1e-4, rtol=0)


def test_one_keyframe_is_a_camera_that_stands(tmp_path: Path) -> None:
    cameras = read(tmp_path, {"keyframes": [{"time": 0, "azimuth": 10}]}, torch.linspace(0, 1, 3))
    assert torch.equal(cameras[0].viewmat, cameras[2].viewmat)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "neither keyframes nor frames"),
        ({"keyframes": []}, "not a list of objects"),
        ({"keyframes": [{"azimuth": 3}]}, "no time"),
        ({"keyframes": [{"time": 0, "azimut": 3}]}, "unknown 'azimut'"),
        ({"keyframes": [{"time": 0, "azimuth": "left"}]}, "not 1 finite"),
        ({"keyframes": [{"time": 0, "azimuth": float("nan")}]}, "not 1 finite"),
        ({"keyframes": [{"time": 0, "target": [1, 2]}]}, "not 3 finite"),
        ({"keyframes": [{"time": 0}, {"time": 0}]}, "do not rise"),
        ({"keyframes": [{"time": 0}, {"time": 2}]}, "within 0 to 1"),
        ({"keyframes": [{"time": 0, "fov": 180}]}, "between 0 and 180"),
        ({"keyframes": [{"time": 0, "elevation": 90}]}, "between -90 and 90"),
        ({"keyframes": [{"time": 0, "radius": 0}]}, "radius"),
        ({"keyframes": [{"time": 0, "position": [0, 0, 1]}, {"time": 1, "azimuth": 3}]}, "mix positions"),
        ({"keyframes": [{"time": 0, "position": [0, 9, 0], "target": [0, 0, 0]}]}, "straight up or down"),
        ({"keyframes": [{"time": 0, "position": [0, 0, 0], "target": [0, 0, 0]}]}, "at its target"),
        ({"frames": []}, "4 x 4"),
        ({"frames": [{"transform_matrix": [[1, 0], [0, 1]]}]}, "4 x 4"),
        ({"frames": [{"transform_matrix": [[2.0 * (i == j) for j in range(4)] for i in range(4)]}]}, "not a rotation"),
        ({"camera_angle_x": 0, "frames": [{"transform_matrix": torch.eye(4).tolist()}]}, "camera_angle_x"),
    ],
)
def test_a_bad_file_is_told(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        read(tmp_path, content, torch.linspace(0, 1, 3))


def test_a_file_that_is_not_json_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_text('{"keyframes": [')
    for name in ("cut.json", "nowhere.json"):
        with pytest.raises(BadInput, match="cannot be read"):
            read_path(tmp_path / name, VIEW, torch.zeros(1))
