"""The camera of a picture of the asset is found; a picture of something else is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from stages.cameras import orbit_camera
from stages.cameras.file import OrbitNumbers
from stages.errors import BadInput
from stages.events import Caution, Event
from stages.gaussians import Gaussians
from stages.gaussians.normalised import normalised
from stages.guides.aimed import Aim
from stages.guides.find_camera import canonical, find_camera
from stages.raster import choose, render
from stages.zoo.clips import rigged_clip
from stages.zoo.rigs import find_rig

WHITE = torch.ones(3)


def body(name: str) -> Gaussians:
    return normalised(rigged_clip(find_rig(name), "walk", 2, 1000, torch.Generator().manual_seed(0)).asset)


@pytest.mark.parametrize("place", [(0.0, 0.0), (0.2, -0.1), (-0.3, 0.25)])
@pytest.mark.parametrize("angles", [(30.0, 10.0), (200.0, 60.0), (-90.0, -10.0)])
def test_an_aim_is_the_camera_it_says(place: tuple[float, float], angles: tuple[float, float]) -> None:
    centre = torch.tensor([0.1, 0.5, -0.2])
    aim = Aim(*angles, math.log(0.3), math.log(1.5), *place)
    camera = aim.camera(centre, 160, 90)
    shown = camera.project(centre)
    torch.testing.assert_close(shown, torch.tensor([80 + 90 * place[0], 45 + 90 * place[1]]), atol=0.01, rtol=0)
    away = camera.position - centre
    assert math.degrees(math.atan2(float(away[0]), float(away[2]))) % 360 == pytest.approx(angles[0] % 360, abs=0.01)
    assert math.degrees(math.asin(float(away[1] / away.norm()))) == pytest.approx(angles[1], abs=0.01)
    depth = float(camera.viewmat[2, :3] @ centre + camera.viewmat[2, 3])
    assert float(camera.K[0, 0]) / depth == pytest.approx(0.3 * 90, rel=1e-4)
    assert camera.viewmat[0, 1].abs() < 1e-6  # upright: the picture's x is level
    torch.testing.assert_close(Aim.of(aim.numbers()).numbers(), aim.numbers())


def test_looks_do_not_depend_on_place_and_size() -> None:
    deer, cameras = body("Deer.glb"), []
    for shift, radius in ((0.0, 4.0), (0.3, 5.0)):
        cameras.append(orbit_camera(azimuth_deg=70, elevation_deg=10, radius=radius, fov_deg=40, width=128, height=128,
                                    target=torch.tensor([0.0, shift, 0.0])))  # fmt: skip
    seen = render(deer, cameras, choose("cpu"))
    looks, places = canonical(torch.cat([seen.rgb, seen.alpha], dim=-1))
    assert float((looks[0] - looks[1]).abs().mean()) < 0.03
    assert float(places[1, 2] / places[0, 2]) == pytest.approx(0.8, abs=0.02) and places[1, 1] > places[0, 1] + 0.05


def test_a_camera_off_the_middle_is_found(tmp_path: Path) -> None:
    deer = body("Deer.glb")
    true = orbit_camera(azimuth_deg=215, elevation_deg=22, radius=4.2, fov_deg=42, width=160, height=112,
                        target=torch.tensor([0.2, -0.1, 0.1]))  # fmt: skip
    seen = render(deer, [true], choose("cpu"), background=WHITE)
    told: list[Event] = []
    found = find_camera(deer, seen.rgb[0], seen.alpha[0, ..., 0], choose("cpu"), told.append, background=WHITE,
                        picture=tmp_path / "match.png")  # fmt: skip
    numbers = OrbitNumbers.of(found, torch.zeros(3))
    assert (found.width, found.height) == (160, 112)
    assert numbers.azimuth_deg % 360 == pytest.approx(215, abs=2) and numbers.elevation_deg == pytest.approx(22, abs=2)
    assert numbers.fov_deg == pytest.approx(42, abs=6)
    assert float((found.project(deer.means) - true.project(deer.means)).norm(dim=-1).mean()) < 1.0
    assert not any(isinstance(event, Caution) for event in told)
    assert Image.open(tmp_path / "match.png").size == (480, 112)


def test_another_body_is_refused_and_shown(tmp_path: Path) -> None:
    deer, dolphin = body("Deer.glb"), normalised(
        rigged_clip(find_rig("Dolphin.glb"), "swim", 2, 1000, torch.Generator().manual_seed(0)).asset
    )  # fmt: skip
    camera = orbit_camera(azimuth_deg=60, elevation_deg=20, radius=4, fov_deg=40, width=96, height=96)
    seen = render(dolphin, [camera], choose("cpu"), background=WHITE)
    with pytest.raises(BadInput, match="--camera FILE"):
        find_camera(deer, seen.rgb[0], seen.alpha[0, ..., 0], choose("cpu"), lambda _: None, background=WHITE,
                    picture=tmp_path / "match.png")  # fmt: skip
    assert (tmp_path / "match.png").exists()
    with pytest.raises(BadInput, match="Nothing"):
        find_camera(deer, seen.rgb[0], torch.zeros(96, 96), choose("cpu"), lambda _: None, background=WHITE)


def test_a_body_that_looks_alike_from_two_sides_is_told() -> None:
    deer = body("Deer.glb")
    turned = deer.means * torch.tensor([-1.0, 1.0, -1.0])  # a second body, half a turn on: from both sides the same
    quats = deer.quats[:, [2, 3, 0, 1]] * torch.tensor([-1.0, 1.0, 1.0, -1.0])  # turned about y by 180 degrees
    both = {name: torch.cat([getattr(deer, name)] * 2) for name in ("log_scales", "logit_opacities", "sh")}
    twins = replace(deer, means=torch.cat([deer.means, turned]), quats=torch.cat([deer.quats, quats]), **both)
    camera = orbit_camera(azimuth_deg=60, elevation_deg=20, radius=4, fov_deg=40, width=96, height=96)
    seen = render(twins, [camera], choose("cpu"), background=WHITE)
    told: list[Event] = []
    find_camera(twins, seen.rgb[0], seen.alpha[0, ..., 0], choose("cpu"), told.append, background=WHITE)
    assert any(isinstance(event, Caution) and "nearly the same" in event.text for event in told)
