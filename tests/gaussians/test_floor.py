"""The floor of a capture is found, and nothing that is part of a body."""

from __future__ import annotations

import math

import pytest
import torch

from stages.assets import asset_path
from stages.events import silent
from stages.gaussians.floor import floor_of
from stages.gaussians.formats.ply import read_ply
from stages.reconstruct import ReconstructConfig, load_asset
from stages.zoo.bodies import open_body, read_bodies
from tests.gaussians.test_cleaning import BODY, FLOOR, _box, _scene

GRASS = _box(5, (1.2, 0.2, 1.2), (1.3, 0.35, 1.3), 3)


def test_a_floor_goes_with_its_grass_and_what_stands_on_it_stays() -> None:
    standing = _box(600, (-0.3, 0.0, -0.3), (0.3, 1.8, 0.3), 1)
    tilt = math.radians(8.0)
    turn = torch.tensor([[1.0, 0, 0], [0, math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), math.cos(tilt)]])
    floor = floor_of(_scene(torch.cat([FLOOR, standing, GRASS]) @ turn.T))
    assert floor is not None and floor[:900].all() and floor[1500:].all()
    assert not floor[900:1500][standing[:, 1] > 0.25].any()


def test_what_is_flat_itself_and_what_is_no_wider_than_the_body_is_no_floor() -> None:
    assert floor_of(_scene(FLOOR)) is None
    assert floor_of(_scene(BODY)) is None
    plinth = _box(300, (-0.4, 0.75, -0.4), (0.4, 0.8, 0.4), 4)
    assert floor_of(_scene(torch.cat([BODY, plinth]))) is None
    assert floor_of(_scene(BODY[:50])) is None
    upside_down = torch.cat([FLOOR, BODY]) * torch.tensor([1.0, -1.0, 1.0])
    assert floor_of(_scene(upside_down)) is None  # nothing stands on a ceiling


@pytest.mark.parametrize("name", ["bird", "deer", "dolphin", "fox", "robot"])
def test_shipped_splats_have_none(name: str) -> None:
    assert floor_of(read_ply(asset_path("splats", f"{name}.ply"))) is None


def test_bodies_of_all_kinds_have_none() -> None:
    """Spiders, crabs, rays, chests, tanks; each fourth of them, at rest."""
    bodies = read_bodies()[::4]
    if not bodies:
        pytest.skip("the bodies are only in a checkout")
    for entry in bodies:
        file = open_body(entry)
        asset = file.gaussians(file.named_pose("rest"), 1500, torch.Generator().manual_seed(0))
        assert floor_of(asset) is None, entry.file


def test_the_robot_is_lifted_off_the_ground_that_was_generated_with_it() -> None:
    path, said = asset_path("splats", "playbot.ply"), []
    whole = load_asset(path, ReconstructConfig(), lambda event: said.append(str(event)))
    assert any("--drop-floor" in text for text in said)
    said.clear()
    load_asset(path, ReconstructConfig(largest=True), lambda event: said.append(str(event)))  # a beam joins them
    assert any("--drop-floor leaves" in text for text in said)
    alone = load_asset(path, ReconstructConfig(drop_floor=True), silent)
    assert whole.num_gaussians == 3000 and 500 < alone.num_gaussians < 700
    low, high = alone.bounds()
    assert float((high - low)[1]) > 0.8 * float((high - low).max())  # it was twice as wide as high
