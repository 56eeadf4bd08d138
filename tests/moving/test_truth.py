"""The true motion of an asset, found in the file it was made from, and in another run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stages.assets import asset_path
from stages.conventions import step_generator
from stages.errors import BadInput, MissingStage
from stages.gaussians.mesh import gaussians_from_mesh
from stages.meshes.placement import find_placement
from stages.metrics.trajectory import is_loop
from stages.moving.truth import true_motion
from stages.skeletons.rigged import read_rigged
from stages.skeletons.skeleton import Skeleton, skin
from tests.exporting.runs import moving_run, small_splat

DOLPHIN = asset_path("rigged", "Dolphin.glb")
pytestmark = pytest.mark.skipif(not DOLPHIN.exists(), reason="the rigged bodies are only in a checkout")


def test_a_clip_moves_the_gaussians_that_were_sampled_from_it() -> None:
    """Against the body's own animation of the same Gaussians, in other units and another place than the file's."""
    file = read_rigged(DOLPHIN)
    (clip,) = file.clips
    body = file.body(file.pose(clip, torch.zeros(1)), 600, step_generator(3, 0))
    seconds = torch.linspace(0.0, 1.0, 9) * file.clip_seconds(clip)
    expected = body.animate(file.pose(clip, seconds)).means
    found = true_motion(str(DOLPHIN), body.gaussians.means, 9)
    assert found.name == "Dolphin.glb#Swim" and is_loop(found.means)
    reach = (expected - body.gaussians.means).norm(dim=-1).amax(dim=0).mean()
    assert (found.means - expected).norm(dim=-1).mean() < 0.04 * reach
    torch.testing.assert_close(found.means[0], body.gaussians.means, atol=2e-3, rtol=0)  # the clip begins at rest
    twice = true_motion(f"{DOLPHIN}#swim", body.gaussians.means, 9, cycles=2.0)
    torch.testing.assert_close(twice.means[2], found.means[4], atol=1e-3, rtol=0)
    torch.testing.assert_close(twice.means[6], found.means[4], atol=1e-3, rtol=0)


def test_as_reconstruct_samples_a_file() -> None:
    rest = gaussians_from_mesh(DOLPHIN, 500, step_generator(0, 0)).means
    found = true_motion(f"{DOLPHIN}#Swim", rest, 5).means
    size = (rest.amax(0) - rest.amin(0)).norm()
    assert 0.005 < (found - rest).norm(dim=-1).amax(0).mean() / size < 0.5  # it swims, where it is
    posed = read_rigged(DOLPHIN)
    rest = posed.gaussians(posed.named_pose("swim@0.4"), 500, step_generator(0, 0)).means
    found = true_motion(f"{DOLPHIN}#Swim", rest, 27, pose="swim@0.4").means
    assert (found - rest).norm(dim=-1).mean(dim=1).min() < 0.01 * size  # on its way it passes through that pose


def test_a_body_with_much_surface_is_found_too() -> None:
    """A robot of plates: samples of its surface lie farther apart than those of an animal of its size."""
    file = read_rigged(asset_path("rigged", "Leela.glb"))
    idle = file.named_pose("idle")
    skeleton = Skeleton(parents=file.parents, joints=file.joints, inverse_bind=file.inverse_bind, world=torch.eye(4))
    standing = skin(file.vertices, file.weights, skeleton.joint_matrices(idle))[0]
    found = find_placement(standing, file.faces, file.body(idle, 800, step_generator(0, 0)).gaussians.means)
    assert found is not None and found.up == "y"
    side = (standing.amax(0) - standing.amin(0)).max()
    assert found.scale == pytest.approx(2.0 / float(side), rel=0.02)  # bodies are two units long


@pytest.mark.parametrize(
    ("truth", "words"),
    [
        ("{deer}", "Name one: --truth"),
        ("{deer}#Fly", "There is no clip 'Fly'"),
        ("{dolphin}#Swim", "is not the file of this asset"),
        ("nowhere.glb#Walk", "There is no file nowhere.glb"),
        ("nowhere", "no true motion in nowhere"),
    ],
)
def test_what_says_nothing_of_the_asset(truth: str, words: str) -> None:
    rest = small_splat().means
    with pytest.raises(BadInput, match=words):
        true_motion(truth.format(deer=asset_path("rigged", "Deer.glb"), dolphin=DOLPHIN), rest, 5)


def test_another_run_with_the_same_asset(tmp_path: Path) -> None:
    run = moving_run(tmp_path / "one", small_splat())
    found = true_motion(str(tmp_path / "one"), run.load_asset().means, 6)
    assert found.means.shape == (6, 60, 3) and "motion" in found.name
    with pytest.raises(BadInput, match="has another asset"):
        true_motion(str(tmp_path / "one"), small_splat(count=50).means, 6)
    (tmp_path / "two").mkdir()
    with pytest.raises(MissingStage):
        true_motion(str(tmp_path / "two"), run.load_asset().means, 6)
