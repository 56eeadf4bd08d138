"""Moving Gaussians in glTF: read back by our own reader at each frame's moment."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stages.errors import BadInput
from stages.events import Event, Note
from stages.export import ExportConfig
from stages.export import run as export
from stages.gaussians.formats.splat_glb import read_splat_glb
from stages.gaussians.normalised import Placement
from stages.geometry.rotations import quaternion_matrices
from stages.motion.skeletal import SkeletalMotion
from stages.moving.asset import load_moving_asset
from stages.run_dir import RunDir
from tests.exporting.runs import moments, moving_run, small_splat
from tests.motion.test_skeletal import arm, moving


def content(path: Path) -> dict:  # type: ignore[type-arg]
    data = path.read_bytes()
    return dict(json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")]))


@pytest.mark.parametrize("degree", [0, 2])
def test_a_general_motion_is_a_set_of_gaussians_a_frame(tmp_path: Path, degree: int) -> None:
    run, out, said = moving_run(tmp_path / "run", small_splat(degree)), tmp_path / "goat.glb", list[Event]()
    export(run, ExportConfig(format="splat-glb", frames=4, fps=10), said.append, out=out)
    assert any(isinstance(event, Note) and "no way to move single Gaussians" in event.text for event in said)
    _, moved = moments(run, torch.linspace(0, 1, 4))
    for index in range(4):
        for seconds in (index / 10 + 0.001, index / 10 + 0.099):
            frame, truth = read_splat_glb(out, seconds=seconds), moved.asset_at(index)
            torch.testing.assert_close(frame.means, truth.means)
            assert (quaternion_matrices(frame.quats) - quaternion_matrices(truth.quats)).abs().max() < 2e-4
            torch.testing.assert_close(frame.scales, truth.scales)
            torch.testing.assert_close(frame.opacities, truth.opacities)
            torch.testing.assert_close(frame.sh, truth.sh)
    assert (
        torch.equal(read_splat_glb(out).means, moved.means[0]) and (moved.means[3] - moved.means[0]).abs().max() > 0.05
    )
    file = content(out)
    assert file["extensionsUsed"] == ["KHR_gaussian_splatting"] and "extensionsRequired" not in file
    for mesh in file["meshes"]:
        (primitive,) = mesh["primitives"]
        about = primitive["extensions"]["KHR_gaussian_splatting"]
        assert primitive["mode"] == 0 and about["kernel"] == "ellipse" and about["colorSpace"] == "srgb_rec709_display"
        counts = {file["accessors"][number]["count"] for number in primitive["attributes"].values()}
        assert counts == {60}
    shared = [mesh["primitives"][0]["attributes"]["KHR_gaussian_splatting:OPACITY"] for mesh in file["meshes"]]
    assert len(set(shared)) == 1


def test_bones_are_nodes(tmp_path: Path) -> None:
    """Gaussians that one bone holds alone go and turn as with the skin; the rest is said."""
    points = arm().skin.vertices
    gaussians = replace(small_splat(1, count=len(points)), means=10.0 * points + 3.0)
    run = RunDir(tmp_path / "run")
    run.put_asset(gaussians, "arm.ply", force=True)
    in_file = arm().normalised(Placement(torch.full((3,), -0.3), 0.1))  # times 10, plus 3
    rig = in_file.normalised(Placement.of(gaussians))
    motion: SkeletalMotion = moving(cyclic=False, rig=rig)
    folder = run.stage("motion")
    folder.write_result("motion.safetensors", motion.tensors(), motion.metadata() | {"prompt": "it waves"})
    folder.finish(1)
    out, said = tmp_path / "arm.glb", list[Event]()
    export(run, ExportConfig(format="splat-glb", frames=5, fps=10), said.append, out=out)
    file = content(out)
    assert [node["name"] for node in file["nodes"]] == ["upper", "lower"] and len(file["meshes"]) == 2
    assert any(isinstance(event, Note) and "2 bones" in event.text for event in said)
    asset = load_moving_asset(run, "auto", "cpu")
    moved = asset.in_file(asset.at(asset.times(5)))
    share = arm().skin.weights.amax(dim=1)
    order = torch.cat([(arm().skin.weights.argmax(dim=1) == joint).nonzero()[:, 0] for joint in (0, 1)])
    alone = share[order] > 0.999
    assert 100 < int(alone.sum()) < len(points)
    for index in range(5):
        frame = read_splat_glb(out, seconds=index / 10)
        assert frame.num_gaussians == len(points)
        torch.testing.assert_close(frame.means[alone], moved.means[index][order][alone], atol=2e-3, rtol=0)
    assert (moved.means[2] - moved.means[0]).norm(dim=-1).max() > 0.5
    torch.testing.assert_close(read_splat_glb(out).means, gaussians.means[order], atol=1e-5, rtol=0)


def test_what_does_not_go_with_it(tmp_path: Path) -> None:
    run = moving_run(tmp_path / "run", small_splat())
    for config, name, words in (
        (ExportConfig(format="splat-glb"), "a.ply", "does not go with splat-glb"),
        (ExportConfig(format="splat-glb", up="-y"), "a.glb", "--up does not go with splat-glb"),
        (ExportConfig(format="ply-sequence", up="up"), "a.ply", "--up up is not an axis"),
        (ExportConfig(format="ply-sequence"), "a.glb", r"End it in \.ply or \.compressed\.ply"),
    ):
        with pytest.raises(BadInput, match=words):
            export(run, config, lambda event: None, out=tmp_path / name)
