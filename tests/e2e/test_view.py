"""The page shows what the run holds, takes over what is newer, and disturbs nobody."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from stages.events import Event
from stages.gaussians import Gaussians
from stages.gaussians.normalised import Placement, normalised
from stages.geometry.rotations import quaternion_matrices
from stages.motion.hexplane import HexPlane, HexPlaneConfig
from stages.motion.kinds import checkpoint_tensors
from stages.run_dir import RunDir
from stages.run_dir.optimiser_state import optimisation_tensors
from stages.skeletons.skeleton import skin
from stages.skeletons.stored import rig_metadata, rig_tensors
from stages.view import LOOK_S, ViewConfig, Viewer, covariances
from stages.view import run as view
from stages.viewing.bones import BoneShapes
from tests.gaussians.test_ply import splat
from tests.motion.test_skeletal import arm
from tests.motion.test_skeletal import moving as moving_bones

SIZES = HexPlaneConfig(spatial_resolution=4, time_resolution=3, multires=(1, 2), features=4, hidden=8)
CONFIG = ViewConfig(port=18080)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    run.put_asset(splat(1, count=30), "goat.ply", force=False)
    return run


@pytest.fixture
def viewer(run: RunDir) -> Iterator[Viewer]:
    viewer = Viewer(run, CONFIG)
    yield viewer
    viewer.stop()


def moving(asset: Gaussians, seed: int) -> HexPlane:
    torch.manual_seed(seed)
    field = HexPlane(SIZES, *asset.bounds())
    torch.nn.init.normal_(field.decoder[-1].weight, std=0.3)  # type: ignore[arg-type]
    return field


def begin(run: RunDir, name: str) -> None:
    settings = {"field": asdict(SIZES), "steps": 20} if name == "motion" else {"steps": 20}
    run.stage(name).begin(config=settings, inputs={}, total_steps=20, force=False)


def checkpoint(run: RunDir, name: str, step: int, field: HexPlane) -> None:
    optimiser = torch.optim.Adam(field.parameters())
    run.stage(name).save_checkpoint(
        step,
        checkpoint_tensors(field, optimisation_tensors(field.named_parameters(), optimiser)),
        {"motion": field.metadata()},
    )


def places(viewer: Viewer) -> torch.Tensor:
    return torch.from_numpy(viewer.splats.centers.copy())


def truth(field: HexPlane, asset: Gaussians, time: float) -> torch.Tensor:
    with torch.no_grad():
        return asset.means + field.displacements(asset.means, torch.tensor([time]))[0]


def test_it_follows_a_run_from_the_asset_to_what_was_refined(run: RunDir, viewer: Viewer) -> None:
    asset = normalised(run.load_asset())
    now = 0.0

    def later() -> None:
        nonlocal now
        now += 1.5 * LOOK_S
        viewer.tick(now)

    later()
    assert viewer.source == "static" and viewer.slider.value == 0.0 and torch.equal(places(viewer), asset.means)
    fields = [moving(asset, seed) for seed in range(3)]
    begin(run, "motion")
    with run.lock("distill"):  # as if another process worked on it
        viewer.playing.value = False
        viewer.slider.value = 0.5
        for step in (5, 10):
            checkpoint(run, "motion", step, fields[step // 10])
            later()
            assert viewer.source == "motion" and f"after {step} steps" in viewer.says.content
            assert "`distill` is running" in viewer.says.content
            torch.testing.assert_close(places(viewer), truth(fields[step // 10], asset, 0.5))
    folder = run.stage("motion")
    folder.write_result("motion.safetensors", fields[2].tensors(), fields[2].metadata() | {"prompt": "a goat"})
    folder.finish(20)
    later()
    assert "complete (20 steps)" in viewer.says.content and "running" not in viewer.says.content
    torch.testing.assert_close(places(viewer), truth(fields[2], asset, 0.5))
    begin(run, "refined")
    checkpoint(run, "refined", 5, fields[0])
    later()
    assert viewer.source == "refined" and tuple(viewer.show.options) == ("refined", "moving", "at rest")
    torch.testing.assert_close(places(viewer), truth(fields[0], asset, 0.5))
    viewer.show.value = "at rest"
    later()
    assert torch.equal(places(viewer), asset.means)


def test_playing_and_looping(run: RunDir, viewer: Viewer) -> None:
    field = moving(normalised(run.load_asset()), 0)
    begin(run, "motion")
    checkpoint(run, "motion", 5, field)
    viewer.tick(10.0)
    before = viewer.slider.value
    viewer.tick(10.2)
    assert viewer.slider.value == pytest.approx(before + 0.1)  # two seconds a clip
    viewer.playing.value, viewer.loop.value = False, True
    shown = []
    for time in (0.0, 1.0, 0.5):
        viewer.slider.value = time
        viewer.tick(10.3)
        shown.append(places(viewer))
    torch.testing.assert_close(shown[0], shown[1])
    assert not torch.allclose(shown[0], shown[2])


def test_a_damaged_checkpoint_keeps_the_page(run: RunDir, viewer: Viewer) -> None:
    begin(run, "motion")
    checkpoint(run, "motion", 5, moving(normalised(run.load_asset()), 0))
    viewer.tick(2 * LOOK_S)
    checkpoint(run, "motion", 10, moving(normalised(run.load_asset()), 1))
    (run.path / "motion/checkpoints/step_000010/state.safetensors").write_bytes(b"half")
    viewer.tick(4 * LOOK_S)
    assert "after 5 steps" in viewer.says.content


def test_covariances_are_turned_and_scaled() -> None:
    asset = splat(3, count=5)
    found = covariances(asset.quats, asset.scales)
    values = torch.linalg.eigvalsh(found)
    torch.testing.assert_close(values, asset.scales.square().sort(dim=-1).values, rtol=1e-3, atol=1e-6)


def test_the_page_is_served_and_nothing_is_written(run: RunDir) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    said: list[Event] = []
    pages = []

    def once() -> bool:
        address = str(said[0].text).split(" at ")[1].split()[0]  # type: ignore[union-attr]
        pages.append(urllib.request.urlopen(address, timeout=10).read())
        return len(pages) < 2

    view(run, CONFIG, said.append, going=once)
    assert b"<html" in pages[0].lower()
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_a_grid_lies_under_the_asset(run: RunDir) -> None:
    viewer = Viewer(run, ViewConfig(port=18090, ground=True))
    try:
        asset = normalised(run.load_asset())
        assert viewer.ground is not None
        assert viewer.ground.position[1] == pytest.approx(float(asset.bounds()[0][1]))
    finally:
        viewer.stop()


def bones_of(viewer: Viewer) -> torch.Tensor:
    return torch.from_numpy(viewer.bones.meshes.batched_positions.copy())


def test_the_bones_of_a_rig_move_with_a_motion_of_them(tmp_path: Path) -> None:
    """At rest where the joints are, moving where the bones' matrices take them; hidden with a motion that has none."""
    run = RunDir(tmp_path / "run")
    rig = arm()
    chosen = torch.arange(len(rig.skin.vertices)) % 30
    run.put_asset(replace(splat(1, count=30).select(chosen), means=rig.skin.vertices), "arm.ply", force=False)
    viewer = Viewer(run, ViewConfig(port=18095))
    now = 0.0

    def later() -> None:
        nonlocal now
        now += 1.5 * LOOK_S
        viewer.tick(now)

    try:
        later()
        assert not viewer.bones.shows.visible
        opaque = viewer.splats.opacities.copy()
        folder = run.stage("rig")
        folder.begin(config={}, inputs={}, total_steps=1, force=False)
        folder.write_result("weights.safetensors", rig_tensors(rig), rig_metadata(rig))
        folder.finish(1)
        later()
        placement = Placement.of(run.load_asset())
        at_rest = rig.normalised(placement)
        assert viewer.bones.shows.visible and viewer.bones.meshes.visible and not viewer.bones.labels
        torch.testing.assert_close(bones_of(viewer), at_rest.joints.heads)
        assert (viewer.splats.opacities < opaque).all()  # bones lie inside
        motion = moving_bones(rig=at_rest)
        begin(run, "motion")
        result = run.stage("motion")
        result.write_result("motion.safetensors", motion.tensors(), motion.metadata() | {"prompt": "an arm"})
        result.finish(20)
        viewer.playing.value, viewer.slider.value, viewer.bones.names.value = False, 0.4, True
        later()
        assert viewer.source == "motion" and [label.text for label in viewer.bones.labels] == ["upper", "lower"]
        matrices = motion.matrices(torch.tensor([0.4])).detach()
        goes = skin(at_rest.joints.heads, torch.eye(2), matrices)[0]
        torch.testing.assert_close(bones_of(viewer), goes)
        torch.testing.assert_close(torch.tensor(viewer.bones.labels[1].position).float(), goes[1])
        viewer.bones.shows.value = False
        later()
        assert not viewer.bones.meshes.visible and not viewer.bones.labels[0].visible
        assert (viewer.splats.opacities == opaque).all()
        viewer.bones.shows.value = True
        begin(run, "refined")
        checkpoint(run, "refined", 5, moving(normalised(run.load_asset()), 0))
        later()
        assert viewer.source == "refined" and not viewer.bones.meshes.visible and not viewer.bones.shows.visible
    finally:
        viewer.stop()


def test_an_octahedron_points_along_its_bone() -> None:
    joints = arm().joints
    turned = replace(joints, tails=joints.heads + torch.tensor([[0.0, 0.0, 0.5], [0.0, 0.0, 0.0]]))
    for one in (joints, turned):
        shapes = BoneShapes.of(one)
        heads, quats = shapes.at(torch.eye(4).expand(2, 4, 4))
        ends = heads + (quaternion_matrices(quats) @ (shapes.scales * torch.tensor([0.0, 0.0, 1.0]))[..., None])[..., 0]
        assert torch.equal(heads, one.heads) and ends.isfinite().all()
        torch.testing.assert_close(ends[0], one.tails[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(torch.linalg.det(shapes.R_world_bone), torch.ones(2))
